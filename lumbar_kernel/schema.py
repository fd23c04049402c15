"""Levels, conditions, severities, row ids, column names and the priors: the competition's vocabulary in one place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

LEVELS = ("l1_l2", "l2_l3", "l3_l4", "l4_l5", "l5_s1")
"""The five disc levels, cranial to caudal, as the submission's row ids spell them."""

LEVEL_NAMES = tuple(level.upper().replace("_", "/") for level in LEVELS)
"""The same levels as `train_label_coordinates.csv` spells them, `L1/L2` and so on."""

SEVERITIES = ("normal_mild", "moderate", "severe")
"""The three grades, mildest first, as the submission's columns spell them."""

SEVERITY_NAMES = ("Normal/Mild", "Moderate", "Severe")
"""The same grades as `train.csv` spells them."""

SEVERE = len(SEVERITIES) - 1
"""Index of the worst grade."""

SEVERITY_WEIGHTS = (1.0, 2.0, 4.0)
"""Sample weight of each grade in the competition's metric."""

SIDES = ("left", "right")
"""Patient sides, in the order that every array with a side axis uses."""

CANAL = "spinal_canal_stenosis"
FORAMINAL = "neural_foraminal_narrowing"
SUBARTICULAR = "subarticular_stenosis"

GROUPS = (CANAL, FORAMINAL, SUBARTICULAR)
"""The three conditions that the metric scores, sides pooled."""

PLACES = {CANAL: "canal", FORAMINAL: "foramen", SUBARTICULAR: "recess"}
"""What each condition narrows, the point at which it is graded."""

CONDITION_NAMES = {
    "left_neural_foraminal_narrowing": "Left Neural Foraminal Narrowing",
    "left_subarticular_stenosis": "Left Subarticular Stenosis",
    "right_neural_foraminal_narrowing": "Right Neural Foraminal Narrowing",
    "right_subarticular_stenosis": "Right Subarticular Stenosis",
    "spinal_canal_stenosis": "Spinal Canal Stenosis",
}
"""Each condition as `train_label_coordinates.csv` spells it."""


@dataclass(frozen=True)
class Target:
    """One of the 25 things that are graded in a study.

    Attributes:
        group: one of `GROUPS`.
        side: one of `SIDES`, empty for the canal.
        level: one of `LEVELS`.
    """

    group: str
    side: str
    level: str

    @property
    def level_name(self) -> str:
        """The level as in `LEVEL_NAMES`."""
        return LEVEL_NAMES[LEVELS.index(self.level)]

    @property
    def condition(self) -> str:
        """Group and side, as the keys of `CONDITION_NAMES` are spelled."""
        return f"{self.side}_{self.group}" if self.side else self.group

    @property
    def row(self) -> str:
        """Condition and level, as the submission's row ids and the columns of `train.csv` spell them."""
        return f"{self.condition}_{self.level}"


TARGETS = tuple(
    Target(group, side, level)
    for side, group in (
        ("left", FORAMINAL),
        ("left", SUBARTICULAR),
        ("right", FORAMINAL),
        ("right", SUBARTICULAR),
        ("", CANAL),
    )
    for level in LEVELS
)
"""The 25 targets of a study in the order of the sample submission."""

SIDED = frozenset(target.group for target in TARGETS if target.side)
"""The conditions that are graded on both sides."""

ROWS = tuple(target.row for target in TARGETS)
"""Row ids of `TARGETS` without the study, in the same order."""

ROW_GROUPS = np.array([GROUPS.index(target.group) for target in TARGETS])
"""Index into `GROUPS` of each row of `ROWS`, shape (25,)."""

ROW_ID = "row_id"
SUBMISSION_COLUMNS = (ROW_ID, *SEVERITIES)

SAGITTAL_T1 = "Sagittal T1"
SAGITTAL_T2 = "Sagittal T2/STIR"
AXIAL_T2 = "Axial T2"
SERIES_DESCRIPTIONS = (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2)
"""The three roles of a series as `*_series_descriptions.csv` spells them."""

MARKED_ON = {CANAL: SAGITTAL_T2, FORAMINAL: SAGITTAL_T1, SUBARTICULAR: AXIAL_T2}
"""The role of the series on which each condition is marked in `train_label_coordinates.csv`."""

NO_ROLE = "none"
"""What a table of roles says of a series that is not to be read."""


def row_index(group: str, level: int, side: int | None = None) -> int:
    """Row of `ROWS` for a metric group, a level index and a side index, which counts for `SIDED` groups only."""
    return TARGETS.index(Target(group, SIDES[side] if group in SIDED and side is not None else "", LEVELS[level]))


def group_of(row: str) -> str:
    """The metric group of a target or row id, found by its name as the official metric does."""
    for group in GROUPS:
        if group in row:
            return group
    msg = f"no condition in row {row!r}; it must contain one of {', '.join(GROUPS)}"
    raise ValueError(msg)


def row_ids(study_id: str) -> Iterator[str]:
    """The 25 row ids of a study in submission order."""
    return (f"{study_id}_{row}" for row in ROWS)


def split_row_id(row_id: str) -> tuple[str, str]:
    """Study id and target of a row id; raises ValueError when the target is none of `ROWS`."""
    for row in ROWS:
        if row_id.endswith(f"_{row}"):
            return row_id.removesuffix(f"_{row}"), row
    msg = f"row id {row_id!r} does not end in one of the {len(ROWS)} targets, as in 44036939_{ROWS[0]}"
    raise ValueError(msg)


Value = TypeVar("Value")


def per_level(*values: Value) -> tuple[Value, ...]:
    """A constant for each level, cranial to caudal; raises ValueError unless there are as many as `LEVELS`."""
    if len(values) != len(LEVELS):
        msg = f"{len(values)} values for {len(LEVELS)} levels: {values}"
        raise ValueError(msg)
    return values


LABEL_COUNTS = {
    CANAL: per_level((1506, 55, 16), (1410, 123, 44), (1293, 177, 107), (1188, 191, 198), (1517, 43, 17)),
    FORAMINAL: per_level((3040, 93, 15), (2863, 271, 14), (2428, 656, 64), (1945, 996, 207), (2017, 814, 317)),
    SUBARTICULAR: per_level((2688, 167, 40), (2503, 395, 124), (2109, 719, 325), (1432, 974, 745), (2228, 664, 251)),
}
"""How often each grade occurs in the training table, per group, level and grade (both sides pooled).

Counted on folds 0-3 of `train.csv` without the two studies kept for checking (1,578 studies)."""


def prior() -> NDArray[np.float64]:
    """The best constant grades under the metric, shape (25, 3), rows as in `ROWS`, each summing to 1.

    The weighted log loss is least where each probability equals the weighted label share, so counts are multiplied
    by `SEVERITY_WEIGHTS` before they are normalised per condition and level.
    """
    counts = np.array([LABEL_COUNTS[target.group][LEVELS.index(target.level)] for target in TARGETS], dtype=np.float64)
    weighted = counts * np.array(SEVERITY_WEIGHTS)
    shares: NDArray[np.float64] = weighted / weighted.sum(axis=1, keepdims=True)
    return shares


def frequencies(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often each grade is expected, (..., 3) summing to 1, from probabilities that minimise the weighted loss.

    Those are proportional to weight times frequency, see `prior`.
    """
    shares = np.asarray(probabilities, dtype=np.float64) / np.array(SEVERITY_WEIGHTS)
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))
