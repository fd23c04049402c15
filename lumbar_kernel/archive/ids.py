"""Ids as they are published, unchanged or hashed with a key, and sets of ids in little memory."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lumbar_kernel.errors import ConfigError

MIN_KEY_BYTES = 16

DIGITS = 32
"""Hexadecimal digits of a hashed id: 128 bits."""


@dataclass(frozen=True)
class Ids:
    """Publishes ids.

    Attributes:
        key: secret, None to publish ids as they are.
    """

    key: bytes | None = None

    def published(self, name: str) -> str:
        """The id itself, or its HMAC-SHA256 shortened to 128 bits; an empty id stays empty."""
        if self.key is None or not name:
            return name
        return hmac.new(self.key, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:DIGITS]

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart without giving them away; empty without a key."""
        return "" if self.key is None else hashlib.sha256(b"fingerprint" + self.key).hexdigest()[:16]


AS_THEY_ARE = Ids()
"""Publishes ids unchanged."""


def read_ids(key_file: Path | None) -> Ids:
    """Ids hashed with the content of a file, as they are when None.

    Raises:
        ConfigError: the file cannot be read or is too short for a secret.
    """
    if key_file is None:
        return AS_THEY_ARE
    try:
        key = key_file.read_bytes().strip()
    except OSError as error:
        msg = f"the key of ids {str(key_file)!r} cannot be read: {error}"
        raise ConfigError(msg) from error
    if len(key) < MIN_KEY_BYTES:
        msg = f"the key of ids must have at least {MIN_KEY_BYTES} bytes, {str(key_file)!r} has {len(key)}"
        raise ConfigError(msg)
    return Ids(key)


def hash64(text: str) -> int:
    """A hash that is the same in every process, never 0."""
    raw = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(raw, "little") or 1


@dataclass(frozen=True, eq=False)
class IdSet:
    """A set of ids, of studies or of folders, which may be millions.

    Attributes:
        hashes: of the ids, sorted, each once; eight bytes an id.
    """

    hashes: NDArray[np.uint64]

    @staticmethod
    def of(groups: Iterable[Iterable[str]]) -> IdSet:
        """The set of all ids in some groups."""
        hashes = [np.array([hash64(name) for name in names], np.uint64) for names in groups]
        return IdSet(np.unique(np.concatenate([np.empty(0, np.uint64), *hashes])))

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, name: str) -> bool:
        own = np.uint64(hash64(name))
        place = int(np.searchsorted(self.hashes, own))
        return place < len(self.hashes) and bool(self.hashes[place] == own)

    def __and__(self, other: IdSet) -> IdSet:
        return IdSet(np.intersect1d(self.hashes, other.hashes, assume_unique=True))

    def rows_of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a table whose `study_id` is in the set."""
        column = batch.column("study_id")
        known = [name for name in pc.unique(column).to_pylist() if name in self]
        return batch.filter(pc.is_in(column, pa.array(known, pa.string())))
