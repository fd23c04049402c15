"""Dataclasses of arrays that hold something of the same n rows, such as examples or graded rows: chosen and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Rows = TypeVar("Rows", bound="DataclassInstance")


def select(rows: Rows, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Rows:
    """The chosen rows, by mask or index."""
    return replace(rows, **{item.name: getattr(rows, item.name)[chosen] for item in fields(rows)})


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Several sets of one kind as one."""
    first = parts[0]
    together = {item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(first)}
    return replace(first, **together)
