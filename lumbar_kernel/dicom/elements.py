"""Single elements of a DICOM dataset as text and numbers, forgiving about how a file spells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import UID


def frame_count(dataset: Any) -> int:
    """NumberOfFrames of a dataset, 1 when absent."""
    return int(dataset.get("NumberOfFrames") or 1)


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


def transfer_syntax(dataset: Any) -> UID:
    """The transfer syntax in the file meta information, empty when absent."""
    uid = dataset.file_meta.get("TransferSyntaxUID")
    return uid if isinstance(uid, UID) else UID(str(uid or ""))


def upper_values(value: Any) -> tuple[str, ...]:
    """Text values in upper case, without blanks around them and empty ones; one with backslashes counts as several."""
    if value is None:
        return ()
    many = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    parts = (part.strip().upper() for item in many for part in str(item).split("\\"))
    return tuple(part for part in parts if part)
