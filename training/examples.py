"""The two kinds of training example, how they are stored, and the studies that no training set may hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.array_rows import select
from evaluation.held_out_studies import HELD_OUT_STUDIES
from lumbar_kernel.models.manifest import LANDMARKS
from lumbar_kernel.schema import (
    CONDITION_NAMES,
    LABEL_COUNTS,
    MARKED_ON,
    PLACES,
    SEVERITIES,
    SEVERITY_NAMES,
    SEVERITY_WEIGHTS,
    TARGETS,
)
from lumbar_kernel.views import VIEWS

FOLDS = 5
"""Folds of phantoms, and of studies that no table gives a fold."""

WIDER = 1.5
"""Factor by which stored crops are wider than the grader's window."""

SOURCES = {"packs": "", "competition": "rsna_", "phantoms": "phantom_"}
"""Kind of training data → how the names of its example files begin."""


@dataclass(frozen=True, eq=False)
class LandmarkExample:
    """One of `LandmarkExamples`, with its attributes but for the source."""

    image: NDArray[np.uint8]
    points: NDArray[np.float64]
    known: NDArray[np.bool_]
    group: str
    fold: int
    weighting: str


@dataclass(frozen=True, eq=False)
class GradeExample:
    """One of `GradeExamples`, with its attributes but for the source."""

    images: NDArray[np.uint8]
    shown: NDArray[np.bool_]
    labels: Sequence[int]
    level: int
    row_id: Sequence[str]
    group: str
    fold: int


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

    @classmethod
    def of(cls, each: Sequence[LandmarkExample], *, source: str) -> LandmarkExamples:
        """Pictures of one source; raises ValueError without any."""
        if not each:
            msg = f"{source} gives no picture with a landmark"
            raise ValueError(msg)
        return cls(
            images=np.stack([item.image for item in each]),
            points=np.stack([item.points for item in each]).astype(np.float32),
            known=np.stack([item.known for item in each]),
            group=np.array([item.group for item in each]),
            fold=np.array([item.fold for item in each], np.int8),
            source=np.full(len(each), source),
            weighting=np.array([item.weighting for item in each]),
        )


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

    @classmethod
    def of(cls, each: Sequence[GradeExample], *, source: str) -> GradeExamples:
        """Crops of one source; raises ValueError without any."""
        if not each:
            msg = f"{source} gives no crop with a grade"
            raise ValueError(msg)
        return cls(
            images=np.stack([item.images for item in each]),
            shown=np.stack([item.shown for item in each]),
            labels=np.array([item.labels for item in each], np.int8),
            level=np.array([item.level for item in each], np.int8),
            row_id=np.array([item.row_id for item in each]),
            group=np.array([item.group for item in each]),
            fold=np.array([item.fold for item in each], np.int8),
            source=np.full(len(each), source),
        )


Examples = LandmarkExamples | GradeExamples
Kind = TypeVar("Kind", bound=Examples)


def layout() -> str:
    """A checksum of what is graded, how it is named and weighed, and in which views; it dates examples."""
    graded = (TARGETS, SEVERITIES, SEVERITY_NAMES, SEVERITY_WEIGHTS, CONDITION_NAMES, PLACES, MARKED_ON, LABEL_COUNTS)
    return hashlib.sha256(repr((graded, VIEWS, LANDMARKS)).encode()).hexdigest()[:16]


def example_file(cache: Path, source: str, kind: str) -> Path:
    """Where the examples of a kind that come from one of `SOURCES` are stored."""
    return cache / f"{SOURCES[source]}{kind}.npz"


def save(examples: Examples, path: Path) -> None:
    """Write examples to one uncompressed npz file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, vars(examples))


def write_npz(file: Path | IO[bytes], arrays: Mapping[str, ArrayLike]) -> None:
    """Write named arrays to one uncompressed npz file."""
    named: dict[str, Any] = dict(arrays)  # to a type checker any of them could be numpy's option `allow_pickle`
    np.savez(file, **named)


def load(path: Path, kind: type[Kind]) -> Kind:
    """Read what `save` wrote; raises TypeError for a file of the other kind."""
    with np.load(path) as stored:
        values = dict(stored)
    if values.keys() != {item.name for item in fields(kind)}:
        msg = f"{path} does not hold {kind.__name__}"
        raise TypeError(msg)
    return kind(**values)


def without_held_out(examples: Kind) -> Kind:
    """The examples of all studies but `HELD_OUT_STUDIES`."""
    return select(examples, ~np.isin(examples.group, sorted(HELD_OUT_STUDIES)))


def windows(images: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The grader's window in the middle of stored crops (n, slices, rows, columns), without a copy."""
    top, left = ((have - want) // 2 for have, want in zip(images.shape[2:], shape, strict=True))
    return images[:, :, top : top + shape[0], left : left + shape[1]]
