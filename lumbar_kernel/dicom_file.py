"""Opening a DICOM file safely: what may go wrong becomes one `DicomError`, the header comes without the pixels."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from lumbar_kernel.errors import DicomError

READ_ERRORS: tuple[type[Exception], ...] = (
    BytesLengthException,
    InvalidDicomError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,  # with NotImplementedError, its child: what pydicom raises when no decoder fits
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and its decoders raise on files that are broken, foreign or encoded in a way nobody here can read."""


@contextmanager
def reading(path: Path, failure: str) -> Iterator[None]:
    """Turn what pydicom raises into a `DicomError` and keep its warnings quiet (not thread-safe, as warnings are)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except READ_ERRORS as error:
        detail = " ".join(str(error).split())[:200]
        raise refusal(path, f"{failure}: {detail or type(error).__name__}") from error


def refusal(path: Path, reason: str) -> DicomError:
    """The error for one file: where it is, in the last folder and name, and the one reason."""
    return DicomError(f"{path.parent.name}/{path.name}: {reason}")


def looks_like_dicom(path: Path) -> bool:
    """Whether a file starts like DICOM: the DICM prefix, or without one a first group of 0002 or 0008."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def open_header(path: Path, *, tags: Sequence[str]) -> tuple[Any, bool]:
    """The dataset up to its pixels, and whether something follows where the pixels should be."""
    if not looks_like_dicom(path):
        size = path.stat().st_size
        raise refusal(path, "the file is empty" if size == 0 else "not a DICOM file")
    with path.open("rb") as file:
        # pydicom stops with the file standing on the pixel element, so one byte tells whether there is one
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(tags))
        has_pixels = bool(file.read(1)) or transfer_syntax(dataset).startswith("Deflated")
    return dataset, has_pixels


def assume_transfer_syntax(dataset: Any) -> None:
    """Give a file without file meta the encoding that it was read with, or pydicom refuses to decode it."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    little, implicit = dataset.is_little_endian, dataset.is_implicit_VR
    dataset.file_meta.TransferSyntaxUID = (
        pydicom.uid.ExplicitVRBigEndian
        if not little
        else pydicom.uid.ImplicitVRLittleEndian
        if implicit
        else pydicom.uid.ExplicitVRLittleEndian
    )


def text(dataset: Any, keyword: str) -> str:
    """A text element without blanks around it, several values joined as the file joins them, empty when absent."""
    value = dataset.get(keyword)
    if value is None or isinstance(value, str):
        return (value or "").strip()
    return "\\".join(map(str, value))


def number(value: Any) -> float | None:
    """The first value as a finite float, None when there is none or it is no number."""
    if isinstance(value, (list, pydicom.multival.MultiValue)):
        value = value[0] if len(value) else None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if np.isfinite(result) else None


def transfer_syntax(dataset: Any) -> str:
    """Name of the encoding that the file meta gives."""
    uid = dataset.file_meta.get("TransferSyntaxUID")
    return "unnamed" if uid is None else str(uid.name)
