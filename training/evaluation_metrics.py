"""What every score is made of: losses with study-level intervals, shares of landmarks found, reliability."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from lumbar_kernel.schema import ROWS, SEVERITIES, SEVERITY_WEIGHTS, prior

DRAWS = 1000
BINS = (0.0, 0.05, 0.15, 0.35, 0.65, 1.0)
"""Edges of the reliability table; most probabilities are small, so the bins are finer there."""


@dataclass(frozen=True, eq=False)
class Graded:
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

    def select(self, chosen: NDArray) -> Graded:
        """The chosen rows, by mask or index."""
        return Graded(**{item.name: getattr(self, item.name)[chosen] for item in fields(self)})

    def replace(self, probabilities: NDArray[np.float64]) -> Graded:
        """The same rows with other probabilities."""
        return Graded(self.row_id, self.group, self.fold, self.labels, probabilities)


@dataclass(frozen=True, eq=False)
class Located:
    """Marked landmarks of one pack beside those found.

    Attributes:
        group: (n,) study or patient.
        distance: (n,) from the mark to the point found for its level, share of the frame.
        right_level: (n,) whether the found point nearest to the mark bears its level.
    """

    group: NDArray[np.str_]
    distance: NDArray[np.float64]
    right_level: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Levels that somebody called narrow or not, beside how narrow the kernel says they are.

    Attributes:
        group: (n,) patient.
        level: (n,) level index.
        narrow: (n,) bool.
        said: (n,) the larger, the narrower.
    """

    group: NDArray[np.str_]
    level: NDArray[np.int8]
    narrow: NDArray[np.bool_]
    said: NDArray[np.float64]


def weighted_log_loss(labels: NDArray, probabilities: NDArray) -> float:
    """The metric's loss of one condition: labels (n,), probabilities (n, 3)."""
    weight = np.array(SEVERITY_WEIGHTS)[labels]
    picked = np.clip(probabilities[np.arange(len(labels)), labels], 1e-15, 1)
    return float(-(weight * np.log(picked)).sum() / weight.sum())


def prior_of(row_id: NDArray[np.str_]) -> NDArray[np.float64]:
    """The best constant grades of rows, (n, 3)."""
    table = dict(zip(ROWS, prior(), strict=True))
    return np.array([table[str(row).partition("_")[2]] for row in row_id])


def interval(group: NDArray, figure: Callable[[NDArray[np.intp]], float], *, draws: int = DRAWS) -> tuple[float, float]:
    """95 % bootstrap interval of a figure of rows, whole studies drawn with replacement; NaN where it never exists."""
    rng = np.random.default_rng(0)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(group[order][1:] != group[order][:-1]) + 1)
    values = []
    for _ in range(draws):
        chosen = rng.integers(0, len(members), len(members))
        values.append(figure(np.concatenate([members[k] for k in chosen])))
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def loss_figure(rows: Graded) -> dict[str, float]:
    """Loss, the prior's loss on the same rows, the interval of the loss, and counts."""
    low, high = interval(rows.group, lambda chosen: weighted_log_loss(rows.labels[chosen], rows.probabilities[chosen]))
    return {
        "loss": weighted_log_loss(rows.labels, rows.probabilities),
        "prior": weighted_log_loss(rows.labels, prior_of(rows.row_id)),
        "low": low,
        "high": high,
        "n": len(rows.labels),
        "studies": len(np.unique(rows.group)),
    }


def location_figure(found: Located) -> dict[str, float]:
    """Shares of marks found within 2, 3 and 6 % of the frame at their level, of right levels, and counts."""
    figure = {f"within_{limit}_percent": float((found.distance < limit / 100).mean()) for limit in (2, 3, 6)}
    figure["right_level"] = float(found.right_level.mean())
    return figure | {"n": len(found.distance), "studies": len(np.unique(found.group))}


def ranking_figure(rows: Ranked) -> dict[str, float]:
    """Area under the curve within a level, mean over levels with both kinds (NaN without any), interval, counts."""

    def area(chosen: NDArray[np.intp]) -> float:
        each = [chosen[rows.level[chosen] == level] for level in np.unique(rows.level)]
        both = [mine for mine in each if len(np.unique(rows.narrow[mine])) == 2]
        return float(np.mean([roc_auc_score(rows.narrow[mine], rows.said[mine]) for mine in both])) if both else np.nan

    low, high = interval(rows.group, area, draws=200)
    counts = {"n": len(rows.said), "studies": len(np.unique(rows.group))}
    return {"area": area(np.arange(len(rows.said))), "low": low, "high": high} | counts


def reliability(rows: Graded) -> list[dict[str, float | str]]:
    """For each grade and bin of said probability: how many, what was said and what happened on average."""
    table: list[dict[str, float | str]] = []
    for index, severity in enumerate(SEVERITIES):
        said, happened = rows.probabilities[:, index], rows.labels == index
        for low, high in itertools.pairwise(BINS):
            mine = (said >= low) & ((said < high) | (high == 1.0))
            if mine.any():
                entry = {"grade": severity, "from": low, "to": high, "n": int(mine.sum())}
                table.append(entry | {"said": float(said[mine].mean()), "happened": float(happened[mine].mean())})
    return table


def yardstick(rows: Graded, others: Mapping[str, NDArray[np.float64]]) -> tuple[float, int] | None:
    """Loss of somebody else's predictions (by row id) on those of these rows that they hold, and how many."""
    held = np.array([str(row) in others for row in rows.row_id])
    if not held.any():
        return None
    same = rows.select(held)
    return weighted_log_loss(same.labels, np.array([others[str(row)] for row in same.row_id])), int(held.sum())
