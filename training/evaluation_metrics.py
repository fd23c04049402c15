"""Evaluation metrics: losses with study-level intervals, fractions of landmarks found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from evaluation.array_rows import select
from evaluation.row_loss import row_loss
from evaluation.study_interval import study_interval
from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import group_of


@dataclass(frozen=True, eq=False)
class GradedRows:
    """Graded rows of one condition.

    Attributes:
        row_id: (n,) `<study>_<condition>_<level>`.
        group: (n,) study.
        fold: (n,) fold of the study.
        labels: (n,) grade 0..2.
        probabilities: (n, 3).
    """

    row_id: NDArray[np.str_]
    group: NDArray[np.str_]
    fold: NDArray[np.int8]
    labels: NDArray[np.int8]
    probabilities: NDArray[np.float64]

    @property
    def condition(self) -> str:
        """The condition of all rows."""
        return group_of(str(self.row_id[0]))


@dataclass(frozen=True, eq=False)
class LocatedPoints:
    """Marked landmarks of one pack compared with the localised ones.

    Attributes:
        group: (n,) study or patient.
        distance: (n,) from the mark to the localised point of its level, fraction of the frame.
        right_level: (n,) whether the localised point nearest to the mark has its level.
    """

    group: NDArray[np.str_]
    distance: NDArray[np.float64]
    right_level: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RankedLevels:
    """Levels labelled narrow or not, with the predicted narrowing.

    Attributes:
        group: (n,) patient.
        level: (n,) level index.
        narrow: (n,) bool.
        predicted: (n,) larger for narrower levels.
    """

    group: NDArray[np.str_]
    level: NDArray[np.int8]
    narrow: NDArray[np.bool_]
    predicted: NDArray[np.float64]


def loss_metric(rows: GradedRows) -> dict[str, float]:
    """The loss of rows with its interval, as `evaluation.row_loss` gives it."""
    return row_loss(rows.labels, rows.probabilities, row_id=rows.row_id, study=rows.group)


def location_metric(found: LocatedPoints) -> dict[str, float]:
    """Fractions of marks found within 2, 3 and 6 % of the frame at their level, of right levels, and counts."""
    figure = {f"within_{limit}_percent": float((found.distance < limit / 100).mean()) for limit in (2, 3, 6)}
    figure["right_level"] = float(found.right_level.mean())
    return figure | {"n": len(found.distance), "studies": len(np.unique(found.group))}


def ranking_metric(rows: RankedLevels) -> dict[str, float]:
    """Area under the curve within a level, mean over levels with both kinds (NaN without any), interval, counts."""

    def area(chosen: NDArray[np.intp]) -> float:
        each = [chosen[rows.level[chosen] == level] for level in np.unique(rows.level)]
        both = [own for own in each if len(np.unique(rows.narrow[own])) == 2]
        areas = [roc_auc_score(rows.narrow[own], rows.predicted[own]) for own in both]
        return float(np.mean(areas)) if areas else np.nan

    low, high = study_interval(rows.group, area, draws=200)
    counts = {"n": len(rows.predicted), "studies": len(np.unique(rows.group))}
    return {"area": area(np.arange(len(rows.predicted))), "low": low, "high": high} | counts


def other_model_loss(rows: GradedRows, others: Mapping[str, NDArray[np.float64]]) -> tuple[float, int] | None:
    """Loss of another model's predictions (by row id) on those of these rows that it predicts, and their number."""
    held = np.array([str(row) in others for row in rows.row_id])
    if not held.any():
        return None
    same = select(rows, held)
    return weighted_log_loss(same.labels, np.array([others[str(row)] for row in same.row_id])), int(held.sum())
