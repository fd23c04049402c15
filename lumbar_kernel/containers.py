"""What studies may come in besides a folder, recognised by the first bytes of a file."""

from __future__ import annotations

from pathlib import Path

ZIP, TAR, COMPRESSED_TAR, DICOMDIR = "zip", "tar", "compressed tar", "DICOMDIR"

BEGINNINGS = {
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,  # without any file
    b"\x1f\x8b": COMPRESSED_TAR,
    b"BZh": COMPRESSED_TAR,
    b"\xfd7zXZ\0": COMPRESSED_TAR,
}
TAR_MAGIC, TAR_PLACE = b"ustar", 257
META = 132
"""Bytes of the preamble and the DICM prefix of a DICOM file, after which its file meta information begins."""

DIRECTORY_CLASS = b"1.2.840.10008.1.3.10"
"""Media Storage Directory Storage, the SOP class of a DICOMDIR; it stands in the file meta information."""

HEAD_BYTES = 1024

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar")


def container_kind(path: Path) -> str | None:
    """`ZIP`, `TAR`, `COMPRESSED_TAR` or `DICOMDIR`, None for anything else, a folder included."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    for beginning, kind in BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if head[TAR_PLACE:].startswith(TAR_MAGIC):
        return TAR
    return DICOMDIR if has_prefix(head) and DIRECTORY_CLASS in head else None


def has_prefix(head: bytes) -> bool:
    """Whether the first bytes of a file hold the DICM prefix."""
    return head[META - 4 : META] == b"DICM"


def looks_like_archive(name: str) -> bool:
    """Whether a file is an archive by its name."""
    return name.lower().endswith(SUFFIXES)


def without_suffix(name: str) -> str:
    """The name of an archive without its suffix, other names as they are."""
    lower = name.lower()
    return next((name[: -len(suffix)] for suffix in SUFFIXES if lower.endswith(suffix) and lower != suffix), name)
