"""The pixels of a DICOM file: decoded once, rescaled, bright for a strong signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import encaps
from pydicom.dataset import FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lumbar_kernel.dicom.elements import frame_count, number, transfer_syntax
from lumbar_kernel.dicom.encoded_frames import MAX_SPARE, encoded_frames, frames_before_end, picture_shape
from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.dicom.ordinary import ordinary_pixels
from lumbar_kernel.dicom.safe_open import open_broken_off, open_whole, read_each, reading, refusal
from lumbar_kernel.errors import DicomError

ALWAYS_DECODED = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless,
)  # fmt: skip
"""Transfer syntaxes that need no decoder besides pydicom."""

USUAL_VALUES = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}
"""Of grey images without a sign, which nearly all MR images are."""

FRAME_KEYWORDS = frozenset({
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation",
})  # fmt: skip
"""Elements that say how the frames of a file are stored."""

JPEG_FAMILY = ("JPEG", "High-Throughput JPEG")
"""Beginnings of the names of JPEG, JPEG-LS and JPEG 2000; the UIDs of films begin like theirs."""


def try_frames(headers: Sequence[SliceHeader]) -> list[NDArray[np.float32] | DicomError]:
    """The pixels of several slices of one file, decoded once, in the order of the headers.

    Returns:
        For each header a (rows, columns) float32 array, rescaled, where bright means a strong signal; the reason in the
        place of a slice that cannot be decoded or does not match its header.

    Raises:
        DicomError: none of the slices can be read.
    """
    path, syntax = headers[0].path, headers[0].transfer_syntax
    if len(headers) == 1 and (pixels := _ordinary(headers[0])) is not None:
        return [pixels]
    failure = f"its {syntax.name or 'unnamed'} pixels cannot be decoded here; {remedy(syntax)}"
    try:
        with reading(path, failure):
            dataset = open_whole(path)
            _prepare(dataset, path)
    except DicomError:
        if headers[0].frame is not None:
            with suppress(DicomError), reading(path, failure):
                return _frames_before_end(headers, failure)
        raise
    try:
        with reading(path, failure):
            stored = _stored_values(dataset)
    except DicomError:
        if frame_count(dataset) > 1:
            with suppress(DicomError), reading(path, failure):
                return _each(headers, failure, partial(_lone_frame_pixels, dataset, _stored_frames(dataset, path)))
        raise
    return _each(headers, failure, partial(_frame_pixels, dataset, stored[None] if stored.ndim == 2 else stored))


def _frames_before_end(headers: Sequence[SliceHeader], failure: str) -> list[NDArray[np.float32] | DicomError]:
    """The pixels of slices whose file breaks off within several encapsulated frames; DicomError for any other file."""
    path = headers[0].path
    dataset = open_broken_off(path)
    _prepare(dataset, path)
    syntax = dataset.file_meta.TransferSyntaxUID
    if frame_count(dataset) == 1 or not syntax.is_compressed:
        raise refusal(path, failure)
    whole = frames_before_end(dataset.PixelData, is_rle=syntax == RLELossless)
    return _each(headers, failure, partial(_lone_frame_pixels, dataset, whole))


def _each(
    headers: Sequence[SliceHeader], failure: str, read: Callable[[SliceHeader], NDArray[np.float32]]
) -> list[NDArray[np.float32] | DicomError]:
    """What `read` gives for each slice of a file, so that a broken frame costs itself alone."""
    return read_each(headers[0].path, failure, [(header.frame, partial(read, header)) for header in headers])


def _ordinary(header: SliceHeader) -> NDArray[np.float32] | None:
    """The pixels of an ordinary file, None for any other and for one that will be refused."""
    found = None if header.frame else ordinary_pixels(header.path)
    if found is None:
        return None
    dataset, stored = found
    try:
        return _frame_pixels(dataset, _corrected(dataset, stored)[None], header)
    except DicomError:
        return None  # pydicom decides, and its words are shown


def remedy(syntax: UID) -> str:
    """What helps where pixels of a transfer syntax cannot be decoded."""
    if _is_jpeg(syntax):
        return "pip install 'lumbar-kernel[codecs]' brings decoders, or convert them to RLE or uncompressed"
    if syntax in ALWAYS_DECODED:
        return "the file is damaged or incomplete, copy it again from its archive"
    return "convert them to RLE or uncompressed, which always can be"


def _prepare(dataset: Any, path: Path) -> None:
    """Complete what a dataset says of its pixels, and refuse those that may not be decoded."""
    _assume_transfer_syntax(dataset)
    _assume_plain_grey(dataset, path)
    _check_encoding(dataset, path)


def _assume_transfer_syntax(dataset: Any) -> None:
    """Give a file without file meta the encoding that it was read with, or pydicom refuses to decode it."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        little = ImplicitVRLittleEndian if dataset.is_implicit_VR else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = little if dataset.is_little_endian else ExplicitVRBigEndian


def _assume_plain_grey(dataset: Any, path: Path) -> None:
    """Give a file the usual values of what an anonymiser stripped, or pydicom refuses to decode it."""
    native, stored = _native_bytes(dataset), len(dataset.get("PixelData") or b"")
    uncompressed = not dataset.file_meta.TransferSyntaxUID.is_compressed  # decoders see colours by themselves
    if uncompressed and not dataset.get("SamplesPerPixel") and stored >= 3 * native:
        raise refusal(path, f"no SamplesPerPixel and {stored} bytes for a grey image of {native}: a colour image")
    for keyword, usual in USUAL_VALUES.items():
        if not dataset.get(keyword):
            setattr(dataset, keyword, usual)
    if not dataset.get("BitsStored"):
        highest = dataset.get("HighBit")
        dataset.BitsStored = dataset.BitsAllocated if highest is None else highest + 1
    is_high = dataset.BitsStored <= (dataset.get("HighBit") or 0) < dataset.BitsAllocated
    if is_high and not _is_jpeg(transfer_syntax(dataset)):
        # the values lie at the upper end of their bits, and are read with the empty ones below: scale changes no grade
        dataset.BitsStored = dataset.HighBit + 1


def _check_encoding(dataset: Any, path: Path) -> None:
    """Refuse compressed pixels that are longer than twice what they unpack to, or of another matrix: bombs."""
    native = _native_bytes(dataset)
    encoded = len(dataset.get("PixelData") or b"")
    if dataset.file_meta.TransferSyntaxUID.is_compressed and encoded > 2 * native + MAX_SPARE:
        raise refusal(path, f"{encoded} bytes of compressed pixels for an image of {native}")
    shape = picture_shape(dataset.get("PixelData") or b"") if _is_jpeg(transfer_syntax(dataset)) else None
    if shape not in (None, (dataset.Rows, dataset.Columns)):
        raise refusal(path, f"its pixels are a picture of {shape}, its header gives {dataset.Rows} × {dataset.Columns}")


def _is_jpeg(syntax: UID) -> bool:
    return str(syntax.name).startswith(JPEG_FAMILY)


def _native_bytes(dataset: Any) -> int:
    """Length of the pixels of a grey image once unpacked."""
    return int(dataset.Rows) * int(dataset.Columns) * frame_count(dataset) * int(dataset.BitsAllocated) // 8


def _stored_values(dataset: Any) -> NDArray[Any]:
    """Decoded stored values with correct sign and unused bits, MONOCHROME1 inverted."""
    stored: NDArray[Any] = dataset.pixel_array
    if stored.dtype.kind not in "iu":
        return -stored if dataset.PhotometricInterpretation == "MONOCHROME1" else stored
    return _corrected(dataset, stored.astype(stored.dtype.newbyteorder("="), copy=False))


def _corrected(dataset: Any, stored: NDArray[Any]) -> NDArray[Any]:
    """Stored whole numbers without what may lie in their unused bits, MONOCHROME1 inverted."""
    signed = stored.dtype.kind == "i"
    bits = int(dataset.BitsStored)
    spare = 8 * stored.dtype.itemsize - bits
    if spare > 0:  # pydicom 2 does not clear the bits above BitsStored
        stored = (stored << spare) >> spare if signed else stored & stored.dtype.type((1 << bits) - 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        # lowest + highest stored value is -1 for signed and 2^bits - 1 for unsigned
        return -1 - stored if signed else stored.dtype.type((1 << bits) - 1) - stored
    return stored


def _stored_frames(dataset: Any, path: Path) -> list[bytes]:
    """The pixels of each frame as they are stored, up to one where the file breaks off."""
    content, count = dataset.PixelData, frame_count(dataset)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        return encoded_frames(content, count, path)
    size = _native_bytes(dataset) // count
    return [content[start : start + size] for start in range(0, len(content) - size + 1, size)][:count]


def _lone_frame_pixels(dataset: Any, encoded: Sequence[bytes], header: SliceHeader) -> NDArray[np.float32]:
    """The pixels of one frame, decoded as a file of its own where the file cannot be decoded as a whole."""
    index, syntax = header.frame or 0, dataset.file_meta.TransferSyntaxUID
    if index >= len(encoded):
        raise refusal(header.path, "the pixels break off before its end")
    kept = {element.tag: element for element in dataset if element.keyword in FRAME_KEYWORDS}
    lone = FileDataset(header.path, kept, file_meta=dataset.file_meta, is_little_endian=syntax.is_little_endian)
    content = encaps.encapsulate([encoded[index]]) if syntax.is_compressed else encoded[index]
    lone.add_new("PixelData", dataset["PixelData"].VR, content)
    _check_encoding(lone, header.path)
    return _rescaled(dataset, _stored_values(lone), header)


def _frame_pixels(dataset: Any, frames: NDArray[Any], header: SliceHeader) -> NDArray[np.float32]:
    index = header.frame or 0
    if index >= len(frames):
        raise _of_other_shape(frames, header)
    return _rescaled(dataset, frames[index], header)


def _of_other_shape(stored: NDArray[Any], header: SliceHeader) -> DicomError:
    shape = "×".join(map(str, stored.shape))
    return refusal(header.path, f"decoded to {shape}, its header gives {header.plane.shape}")


def _rescaled(dataset: Any, stored: NDArray[Any], header: SliceHeader) -> NDArray[np.float32]:
    """The stored values of one frame (rows, columns) as a signal."""
    if stored.shape != header.plane.shape:
        raise _of_other_shape(stored, header)
    slope, intercept = _rescale(dataset, header.frame or 0)
    pixels: NDArray[np.float32] = stored.astype(np.float32)
    as_stored = (slope, intercept) == (1.0, 0.0)
    if not as_stored:
        pixels = pixels * np.float32(slope) + np.float32(intercept)
    if not (as_stored and stored.dtype.kind in "iu") and not np.isfinite(pixels).all():
        raise refusal(header.path, "the pixels are not all finite")
    return pixels


def _rescale(dataset: Any, frame: int) -> tuple[float, float]:
    """Slope and intercept of a frame, (1, 0) where the elements are absent or would blank the image."""
    own = (dataset.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    places = [group.PixelValueTransformationSequence[0] for group in [*own, *shared] if _has_transformation(group)]
    place = [*places, dataset][0]
    slope, intercept = number(place.get("RescaleSlope")), number(place.get("RescaleIntercept"))
    return (slope, intercept or 0.0) if slope else (1.0, 0.0)


def _has_transformation(group: Any) -> bool:
    return bool(group.get("PixelValueTransformationSequence"))
