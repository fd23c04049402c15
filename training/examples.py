"""The two kinds of training example, how they are stored, and the studies that no training set may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.held_out_studies import HELD_OUT_STUDIES

FOLDS = 5
"""Folds of phantoms, and of studies that no table gives a fold."""

WIDER = 1.5
"""Factor by which stored crops are wider than the grader's window."""


@dataclass(frozen=True, eq=False)
class LandmarkExamples:
    """Pictures with landmarks, for a `HeatmapNet`.

    Attributes:
        images: (n, rows, columns) uint8.
        points: (n, landmarks, 2) float32 row and column; NaN where the picture does not show the landmark.
        known: (n, landmarks) bool; False where it is unknown whether the landmark is visible.
        group: (n,) patient or study, the unit of every split.
        fold: (n,) int8.
        source: (n,) name of the pack.
        weighting: (n,) "t1", "t2" or "stir".
    """

    images: NDArray[np.uint8]
    points: NDArray[np.float32]
    known: NDArray[np.bool_]
    group: NDArray[np.str_]
    fold: NDArray[np.int8]
    source: NDArray[np.str_]
    weighting: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class GradeExamples:
    """Crops with grades, for a grader; cut wider than the grader's window, to leave room for jitter.

    Attributes:
        images: (n, slices, rows, columns) uint8, on the canonical side (a right side is mirrored to a left one).
        shown: (n, slices) bool, False for a missing slice, whose place in `images` the middle slice takes.
        labels: (n, heads) int8 grade 0..2 per head, -1 where there is none.
        level: (n,) int8 level index.
        row_id: (n, heads) the submission row of each head, "" where there is none.
        group: (n,) patient or study.
        fold: (n,) int8.
        source: (n,) name of the pack.
    """

    images: NDArray[np.uint8]
    shown: NDArray[np.bool_]
    labels: NDArray[np.int8]
    level: NDArray[np.int8]
    row_id: NDArray[np.str_]
    group: NDArray[np.str_]
    fold: NDArray[np.int8]
    source: NDArray[np.str_]


Examples = LandmarkExamples | GradeExamples


def save(examples: Examples, path: Path) -> None:
    """Write examples to one uncompressed npz file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{item.name: getattr(examples, item.name) for item in fields(examples)})


def load_any(path: Path) -> Examples:
    """Read what `save` wrote; the kind follows from the fields."""
    with np.load(path) as stored:
        values = {name: stored[name] for name in stored.files}
    return LandmarkExamples(**values) if "points" in values else GradeExamples(**values)


def load_landmarks(path: Path) -> LandmarkExamples:
    """Read landmark examples; raises TypeError for a file of the other kind."""
    return _of_kind(load_any(path), LandmarkExamples, path)


def load_grades(path: Path) -> GradeExamples:
    """Read grade examples; raises TypeError for a file of the other kind."""
    return _of_kind(load_any(path), GradeExamples, path)


def _of_kind(examples: Examples, kind: type, path: Path) -> Any:
    if not isinstance(examples, kind):
        msg = f"{path} holds {type(examples).__name__}, not {kind.__name__}"
        raise TypeError(msg)
    return examples


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Several sets of one kind as one."""
    first = parts[0]
    return type(first)(**{item.name: np.concatenate([getattr(p, item.name) for p in parts]) for item in fields(first)})


def select(examples: Examples, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Examples:
    """The chosen examples, by mask or index."""
    return type(examples)(**{item.name: getattr(examples, item.name)[chosen] for item in fields(examples)})


def without_held_out(examples: Examples) -> Examples:
    """The examples of all studies but `HELD_OUT_STUDIES`."""
    return select(examples, ~np.isin(examples.group, sorted(HELD_OUT_STUDIES)))


def windows(images: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The grader's window in the middle of stored crops (n, slices, rows, columns), without a copy."""
    top, left = ((have - want) // 2 for have, want in zip(images.shape[2:], shape, strict=True))
    return images[:, :, top : top + shape[0], left : left + shape[1]]
