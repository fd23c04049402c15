"""The first pass of the index: the identity of every file of some folders, as rows that can be grouped by study.

What distinguishes people (PatientID, birth date, sex) is compared but never written: only keyed hashes of it leave this
module, and their key is thrown away with the files of the pass.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from lumbar_kernel.archive.ids import hash64
from lumbar_kernel.archive.remote_files import remote_identity
from lumbar_kernel.archive.sources import Listing
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.dicom.folders import has_dicom_suffix
from lumbar_kernel.dicom.identity import FileIdentity, identify
from lumbar_kernel.dicom.persons import single_file_studies
from lumbar_kernel.dicom.safe_open import looks_like_dicom

FILES_A_CHUNK = 20_000

ROWS = pa.schema(
    [
        ("key", pa.uint32()),
        ("folder", pa.string()),
        ("study", pa.string()),
        ("series", pa.string()),
        ("role", pa.string()),
        ("readable", pa.bool_()),
        ("study_uid", pa.string()),
        ("series_uid", pa.string()),
        ("patient", pa.list_(pa.string())),
        ("frame_of_reference", pa.string()),
        ("multi_frame", pa.bool_()),
        ("axis", pa.string()),
        ("names", pa.list_(pa.string())),
        ("sizes", pa.list_(pa.int64())),
    ]
)
"""One row for the files of one identity in one folder; `key` brings the rows of one study together."""

OWNERS = pa.schema([("folder", pa.uint64()), ("owner", pa.uint64())])
"""For each folder at any depth, the one study that lies in it, `SEVERAL` where there are more."""

SEVERAL = 0  # which `hash64` never gives


@dataclass(frozen=True)
class HeaderRow:
    """The files of one identity in one folder.

    Attributes:
        listing: the folder, with the names of these files only.
        sizes: bytes of each file.
        identity: None for files that cannot be read or need not be.
    """

    listing: Listing
    sizes: tuple[int, ...]
    identity: FileIdentity | None


def chunks(listings: Iterator[Listing], *, files: int = FILES_A_CHUNK) -> Iterator[tuple[Listing, ...]]:
    """Listings in groups of about so many files; a folder with more is divided."""
    waiting: list[Listing] = []
    count = 0
    for listing in listings:
        for start in range(0, max(1, len(listing.names)), files):
            part = replace(listing, names=listing.names[start : start + files])
            waiting.append(part)
            count += len(part.names) + 1
            if count >= files:
                yield tuple(waiting)
                waiting, count = [], 0
    if waiting:
        yield tuple(waiting)


def chunk_name(listings: Sequence[Listing]) -> str:
    """A name that follows from the files of a chunk, so that an interrupted pass knows what it has."""
    digest = hashlib.blake2b(digest_size=12)
    for item in listings:
        digest.update(repr(item).encode("utf-8", "surrogateescape"))
    return f"{digest.hexdigest()}.parquet"


def read_chunk(root: Folder, listings: Sequence[Listing], secret: bytes) -> tuple[pa.Table, pa.Table]:
    """The rows of some folders, sorted by key, and the owners of these folders and those above."""
    rows = [row for listing in listings for row in _rows(root, listing, secret)]
    keys = _keys(rows)
    order = sorted(range(len(rows)), key=lambda place: hash32(keys[place]))
    table = pa.Table.from_pylist([_stored(rows[place], hash32(keys[place])) for place in order], schema=ROWS)
    return table, _owners(rows, keys)


def _rows(root: Folder, listing: Listing, secret: bytes) -> Iterator[HeaderRow]:
    found: dict[FileIdentity | None, list[tuple[str, int]]] = defaultdict(list)
    for name in listing.names:
        entry = _identified(root, listing, name)
        if entry is not None:
            identity, size = entry
            found[identity].append((name, size))
    if not found and listing.study:  # which a table or the layout names, even if no file of it is there
        yield HeaderRow(Listing("", (), listing.study), (), None)
    for identity, files in found.items():
        own = replace(listing, names=tuple(name for name, _ in files))
        yield HeaderRow(own, tuple(size for _, size in files), None if identity is None else _hidden(identity, secret))


def _identified(root: Folder, listing: Listing, name: str) -> tuple[FileIdentity | None, int] | None:
    """The identity and size of a file, None for one that is no DICOM by name nor content."""
    if root.local is None:
        return remote_identity(root, f"{listing.folder}/{name}".lstrip("/"))
    path = os.path.join(root.text, listing.folder, name)  # noqa: PTH118 - no path object for each file
    try:
        size = os.stat(path).st_size  # noqa: PTH116
    except OSError:
        size = 0  # inside an archive, or gone
    if listing.series:
        return (None, size) if has_dicom_suffix(name) or looks_like_dicom(Path(path)) else None
    is_dicom, identity = identify(path)
    return (identity, size) if is_dicom or has_dicom_suffix(name) else None


def _hidden(identity: FileIdentity, secret: bytes) -> FileIdentity:
    """The identity with hashes in place of what belongs to the patient, part by part, empty parts as they are."""

    def hidden(text: str) -> str:
        return hashlib.blake2b(text.encode(), key=secret, digest_size=12).hexdigest() if text else ""

    patient = tuple(map(hidden, identity.patient))
    return replace(identity, patient=patient, frame_of_reference=hidden(identity.frame_of_reference))


def _keys(rows: Sequence[HeaderRow]) -> list[str]:
    """What rows of one study have in common: the id from a table, else the UID, else the folder above."""
    places = {
        (Path(row.listing.folder), row.identity): len(row.listing.names)
        for row in rows
        if row.identity is not None and not row.listing.study
    }
    single = single_file_studies(places)
    by_folder: dict[str, str] = {}
    by_parent: dict[str, set[str]] = defaultdict(set)
    keys: list[str | None] = []
    for row in rows:
        folder, own = row.listing.folder, row.identity
        key = None
        if row.listing.study:
            key = f"study {row.listing.study}"
        elif own is not None:
            usable = own.study_uid and (Path(folder), own) not in single
            key = f"uid {own.study_uid}" if usable else f"folder {_parent(folder)}"
        if key is not None:
            by_folder.setdefault(folder, key)
            by_parent[_parent(folder)].add(key)
        keys.append(key)
    return [key or _adopted(row.listing.folder, by_folder, by_parent) for key, row in zip(keys, rows, strict=True)]


def _adopted(folder: str, by_folder: dict[str, str], by_parent: dict[str, set[str]]) -> str:
    """The key of files that cannot be read: of their folder, else of the folders beside it if these agree."""
    beside = by_parent[_parent(folder)]
    return by_folder.get(folder) or (next(iter(beside)) if len(beside) == 1 else f"folder {_parent(folder)}")


def _parent(folder: str) -> str:
    return folder.rpartition("/")[0]


def _stored(row: HeaderRow, key: int) -> dict[str, object]:
    own, listing = row.identity, row.listing
    return {
        "key": key,
        "folder": stored_text(listing.folder),
        "study": stored_text(listing.study),
        "series": stored_text(listing.series),
        "role": listing.role,
        "readable": own is not None,
        "study_uid": own.study_uid if own else None,
        "series_uid": own.series_uid if own else None,
        "patient": list(own.patient) if own else None,
        "frame_of_reference": own.frame_of_reference if own else None,
        "multi_frame": own.multi_frame if own else None,
        "axis": own.axis if own else None,
        "names": [stored_text(name) for name in listing.names],
        "sizes": list(row.sizes),
    }


def _owners(rows: Sequence[HeaderRow], keys: Sequence[str]) -> pa.Table:
    owners: dict[str, int] = {}
    for row, key in zip(rows, keys, strict=True):
        if row.identity is None or row.listing.study:
            continue
        own, folder = hash64(key), row.listing.folder
        while True:
            if owners.setdefault(folder, own) != own:
                owners[folder] = SEVERAL
            if not folder:
                break
            folder = _parent(folder)
    return pa.table({"folder": [hash64(name) for name in owners], "owner": list(owners.values())}, schema=OWNERS)


def hash32(text: str) -> int:
    """A hash that is the same in every process."""
    return hash64(text) >> 32


def stored_text(text: str) -> str:
    """A name as valid UTF-8; names with bytes that are no text get a mark in front."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "\0" + os.fsencode(text).decode("latin-1")
    return text


def restored_text(text: str) -> str:
    """The inverse of `stored_text`."""
    return os.fsdecode(text[1:].encode("latin-1")) if text.startswith("\0") else text
