"""A study's pixels in one block of shared memory, so that they reach another process without being pickled."""

from __future__ import annotations

import mmap
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.study import Series, Slice, Study

SHARED_FOLDER = Path("/dev/shm")
"""Where Linux keeps POSIX shared memory; containers often limit it to 64 MB, and writing more kills the writer."""

HEADROOM = 1 << 24


def pack(study: Study, block_name: str) -> tuple[Study, bool]:
    """Move the pixels into a new block of that name; returns the study with empty pixels, and whether a block was made.

    Without room for a block, or permission to make one, the study is returned unchanged, to be pickled as a whole.
    """
    items = _slices(study)
    size = sum(item.pixels.nbytes for item in items)
    if size == 0 or not _has_room(size):
        return study, False
    try:
        block = shared_memory.SharedMemory(name=block_name, create=True, size=size)
    except OSError:  # containers may have no such folder, or one that cannot be written
        return study, False
    if not _reserved(SHARED_FOLDER / block_name, size):
        block.close()
        block.unlink()
        return study, False
    try:
        room = np.ndarray(size // 4, dtype=np.float32, buffer=block.buf)
        np.concatenate([item.pixels.ravel() for item in items], out=room)
        del room  # the block cannot be closed while an array refers to it
    finally:
        block.close()
    empty = np.empty((0, 0), dtype=np.float32)
    return _with_pixels(study, [empty] * len(items)), True


def unpack(study: Study, block_name: str) -> Study:
    """The study with its pixels in the block, whose name is removed; its memory goes with the last of the pixels."""
    shapes = [item.plane.shape for item in _slices(study)]
    counts = [rows * columns for rows, columns in shapes]
    block = shared_memory.SharedMemory(name=block_name)
    try:
        pixels = _mapped(SHARED_FOLDER / block_name, sum(counts))
        if pixels is None:
            pixels = np.ndarray(sum(counts), dtype=np.float32, buffer=block.buf).copy()
    finally:
        block.close()
        block.unlink()
    parts = np.split(pixels, np.cumsum(counts)[:-1])
    return _with_pixels(study, [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])


def discard(block_name: str) -> None:
    """Remove a block that a reader process may have left behind."""
    try:
        block = shared_memory.SharedMemory(name=block_name)
    except FileNotFoundError:
        return
    except (ValueError, OSError):  # its creator was killed before sizing it, or there is no memory to map it
        with suppress(OSError):
            (SHARED_FOLDER / block_name).unlink(missing_ok=True)
        return
    block.close()
    block.unlink()


def _mapped(path: Path, count: int) -> NDArray[np.float32] | None:
    """So many numbers of a block without a copy, None where blocks are no files; the array keeps its map alive."""
    if not path.is_file():
        return None
    with path.open("r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 4 * count), dtype=np.float32)


def _reserved(path: Path, size: int) -> bool:
    """Whether the block has its memory for sure, since several readers may have found the same room."""
    if not path.is_file():
        return True
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            return False
    return True


def _has_room(size: int) -> bool:
    return not SHARED_FOLDER.is_dir() or shutil.disk_usage(SHARED_FOLDER).free > size + HEADROOM


def _slices(study: Study) -> list[Slice]:
    series = study.series if study.volume is None else (*study.series, study.volume)
    return [item for each in series for item in each.slices]


def _with_pixels(study: Study, pixels: list[NDArray[np.float32]]) -> Study:
    remaining = iter(pixels)

    def filled(series: Series) -> Series:
        return replace(series, slices=tuple(replace(item, pixels=next(remaining)) for item in series.slices))

    series = tuple(map(filled, study.series))
    return replace(study, series=series, volume=None if study.volume is None else filled(study.volume))
