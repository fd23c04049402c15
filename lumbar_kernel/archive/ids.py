"""Ids as they are published: as they are, or hashed with a key."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

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
