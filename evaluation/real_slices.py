"""Reading the packs of single real slices and crops in `shared/data`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lumbar_kernel.localisation.slice_maps import FRAME

SQUARED = ("spider_midsagittal",)
"""Packs whose pictures were stretched along one side, up to nine times; a square frame restores their shape."""


def pictures(pack: Path, archive: str = "slices.zip") -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Every picture of a pack's archive as (name, grey pixels); raises ValueError for one that cannot be read."""
    with zipfile.ZipFile(pack / archive) as files:
        for name in sorted(files.namelist()):
            if name.endswith((".jpg", ".png")):
                picture = cv2.imdecode(np.frombuffer(files.read(name), np.uint8), cv2.IMREAD_GRAYSCALE)
                if picture is None:
                    msg = f"{name} in {pack / archive} is not a picture that can be read"
                    raise ValueError(msg)
                yield name, picture.astype(np.uint8, copy=False)


def rows_by(table: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """The rows of a table by the text in one of its columns."""
    return {str(text): rows for text, rows in table.groupby(column)}


def letterbox(picture: NDArray[np.uint8], *, rows: float, columns: float) -> tuple[NDArray[np.uint8], int, int]:
    """A picture of `rows` × `columns` square pixels, centred in the localiser's frame.

    Returns:
        The frame, (FRAME, FRAME) uint8, and the height and width that the picture takes in it.
    """
    scale = FRAME / max(rows, columns)
    height, width = round(rows * scale), round(columns * scale)
    frame = np.zeros((FRAME, FRAME), np.uint8)
    top, left = (FRAME - height) // 2, (FRAME - width) // 2
    frame[top : top + height, left : left + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return frame, height, width


def true_size(picture: NDArray[np.uint8], pack: str) -> tuple[int, int]:
    """Height and width of a pack's picture in square pixels."""
    rows, columns = picture.shape
    return (max(rows, columns),) * 2 if pack in SQUARED else (rows, columns)
