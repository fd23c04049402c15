"""Checks that the result of a stage holds only finite numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.errors import NotFiniteError


def float_arrays(value: object) -> Iterator[NDArray[np.floating[Any]]]:
    """Every array of floats inside a value, and every float as an array of its own.

    The value itself is searched, or its dataclass fields, sequences and mappings.
    """
    if isinstance(value, float):
        yield np.asarray(value)
    elif isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from float_arrays(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from float_arrays(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from float_arrays(item)


def require_finite(value: object) -> None:
    """Raise NotFiniteError when a number inside a value is NaN or infinite."""
    arrays = [array for array in float_arrays(value) if not np.isfinite(array).all()]  # counted below, if any
    if arrays:
        wrong = sum(int(array.size - np.isfinite(array).sum()) for array in arrays)
        msg = f"{wrong} numbers of the {type(value).__name__} are not finite"
        raise NotFiniteError(msg)
