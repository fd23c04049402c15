"""Opening a DICOM file safely: every failure becomes a `DicomError`, and headers are read without the pixels."""

from __future__ import annotations

import io
import os
import stat
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_partial

from lumbar_kernel.containers import META, has_prefix
from lumbar_kernel.dicom.element_walk import DEFLATED, EXPLICIT, PIXEL_DATA
from lumbar_kernel.dicom.packed_files import read_beginning, shown_name
from lumbar_kernel.errors import DicomError

T = TypeVar("T")

READ_ERRORS: tuple[type[Exception], ...] = (
    BytesLengthException,
    InvalidDicomError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,  # includes NotImplementedError, which pydicom raises when no decoder fits
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and its decoders raise on files that are broken, foreign or in an unsupported encoding."""

HEADER_LIMIT = 1 << 24
"""Most bytes before the pixels: functional groups of 512 frames with 32 KiB each. Two million elements take 3 s."""

SIZE_LIMIT = (1 << 28) + HEADER_LIMIT
"""Most bytes of a file, packed and unpacked: 512 frames of 512 × 512 with two bytes each, and their header."""

ITEM = b"\xfe\xff\x00\xe0"
ITEM_LIMIT = 1 << 18
"""Most items of sequences in a header, which take 18 µs each to parse; 500 functional groups have a few thousand."""

OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
"""Opening a pipe without O_NONBLOCK would wait until something is written."""

EXPLICIT_HEADER = 12
"""Bytes of tag, VR and length before the value of PixelData; files with encapsulated pixels are explicit."""

INFLATED = EXPLICIT.ljust(len(DEFLATED), b"\0")
"""UID of what a deflated file is once inflated, in as many bytes."""


@contextmanager
def reading(path: Path, failure: str) -> Iterator[None]:
    """Turn what pydicom raises into a `DicomError` and keep its warnings quiet (not thread-safe, as warnings are)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _decoder_errors() as error:
        detail = " ".join(str(error).split())[:200]
        raise refusal(path, f"{failure}: {detail or type(error).__name__}") from error


def read_each(path: Path, failure: str, reads: Iterable[tuple[int | None, Callable[[], T]]]) -> list[T | DicomError]:
    """What can be read of each of several frames of a file, or why it cannot.

    Args:
        path: the file.
        failure: what has failed where pydicom raises.
        reads: index of each frame, None in a file without frames, and what reads it.

    Raises:
        DicomError: none can be read; the reason of the first.
    """
    found: list[T | DicomError] = []
    for frame, read in reads:
        try:
            with reading(path, failure):
                found.append(read())
        except DicomError as error:
            found.append(error if frame is None else DicomError(f"{error} (frame {frame + 1})"))
    if isinstance(found[0], DicomError) and all(isinstance(item, DicomError) for item in found):
        raise found[0]
    return found


def _decoder_errors() -> tuple[type[Exception], ...]:
    """`READ_ERRORS` and Pillow's error for a picture that is too large, which is a subclass of none of them.

    Pydicom 2 lets it through; it can only occur where pydicom has imported Pillow.
    """
    pillow = sys.modules.get("PIL.Image")
    return READ_ERRORS if pillow is None else (*READ_ERRORS, pillow.DecompressionBombError)


def refusal(path: Path, reason: str) -> DicomError:
    """The error for one file: its folder and name, with the archive that it lies in, and the reason."""
    return DicomError(f"{shown_name(path)}: {reason}")


def looks_like_dicom(path: Path) -> bool:
    """Whether this is a file that starts like DICOM: the DICM prefix, or without one a first group of 0002 or 0008."""
    try:
        return starts_like_dicom(read_head(path, META))
    except OSError:
        return False


def open_header(path: Path, *, keywords: Sequence[str]) -> tuple[Any, bool]:
    """The elements of these keywords before the pixels, and whether pixel data follow."""
    with _opened(path, limit=HEADER_LIMIT) as file:
        _check_items(path, file)
        # pydicom stops at the pixel element, so reading one more byte shows whether there is one
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(keywords))
        has_pixels = bool(file.read(1))
        if not has_pixels and file.tell() >= HEADER_LIMIT:
            raise refusal(path, f"the header is longer than {HEADER_LIMIT} bytes")
    return dataset, has_pixels


def _check_items(path: Path, file: IO[bytes]) -> None:
    """Refuse a header that could hold, and does hold, more items than any scanner writes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > ITEM_LIMIT * 8:  # an empty item has eight bytes
        items = file.read().count(ITEM)
        file.seek(0)
        if items > ITEM_LIMIT:
            raise refusal(path, f"the header holds {items} items, over the limit of {ITEM_LIMIT}")


def open_whole(path: Path) -> Any:
    """The dataset with its pixels, without what may follow them."""
    with _opened(path, limit=SIZE_LIMIT) as file:
        return read_partial(file, stop_when=lambda tag, vr, length: tag > PIXEL_DATA, force=True)


def open_broken_off(path: Path) -> Any:
    """The dataset of a file that breaks off within its encapsulated pixels, with what is there of them.

    `open_whole` fails: pydicom gives up all elements where one has no end.
    """
    with _opened(path, limit=SIZE_LIMIT) as file:
        dataset = read_partial(file, stop_when=lambda tag, vr, length: tag >= PIXEL_DATA, force=True)
        dataset.add_new(PIXEL_DATA, "OB", file.read()[EXPLICIT_HEADER:])
    return dataset


@contextmanager
def _opened(path: Path, *, limit: int) -> Iterator[IO[bytes]]:
    """The first bytes of a file, inflated if deflated; never blocks and uses limited memory."""
    opened, size = _beginning(path, limit)
    with opened as file:
        head = file.read(META)
        if not starts_like_dicom(head):
            raise refusal(path, "not a DICOM file" if size else "the file is empty")
        yield _inflated(file, head, limit)


def _beginning(path: Path, limit: int) -> tuple[IO[bytes], int]:
    """A file that ends after `limit` bytes, and its whole size."""
    try:
        status = path.stat()
    except NotADirectoryError:
        content, size = read_beginning(path, most=limit)
        _check_size(path, size)
        return io.BytesIO(content), size
    if not stat.S_ISREG(status.st_mode):
        raise refusal(path, "a folder, pipe, socket or device, not a file")
    _check_size(path, status.st_size)
    return io.BufferedReader(_Beginning(path, limit)), status.st_size


def _check_size(path: Path, size: int) -> None:
    if size > SIZE_LIMIT:
        raise refusal(path, f"{size} bytes are over the limit of {SIZE_LIMIT}")


def read_head(path: Path | str, size: int) -> bytes:
    """The first bytes of a regular file, also inside an archive; raises OSError for anything else, never blocks."""
    return read_part(path, size)[0]


def read_part(path: Path | str, most: int) -> tuple[bytes, int]:
    """At most so many bytes from the start of a file, as `read_head`, and the size of the whole file."""
    try:
        file = os.open(path, OPEN_FLAGS)
    except NotADirectoryError:
        return read_beginning(Path(path), most=most)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            msg = "not a regular file"
            raise OSError(msg)
        return os.read(file, min(most, status.st_size)), status.st_size
    finally:
        os.close(file)


class _Beginning(io.FileIO):
    """A file that ends after `limit` bytes."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path)
        self._limit = limit

    def readinto(self, buffer: Any) -> int | None:
        return super().readinto(memoryview(buffer)[: max(0, self._limit - self.tell())])


def starts_like_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes of a file have the DICM prefix, or without one a first group of 0002 or 0008."""
    return has_prefix(head) or head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def _inflated(file: IO[bytes], head: bytes, limit: int) -> IO[bytes]:
    """The file itself, or the beginning of a deflated one unpacked: pydicom would unpack a kilobyte to a gigabyte."""
    file.seek(META if has_prefix(head) else 0)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag >> 16 != 2)
    place = file.tell()
    file.seek(0)
    if meta.get("TransferSyntaxUID") != DEFLATED.decode():
        return file
    start = file.read(place).replace(DEFLATED, INFLATED)
    body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), limit - place)
    return io.BytesIO(start + body)
