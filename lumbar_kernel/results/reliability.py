"""Reliability of probabilities: how often a grade occurs where it is expected with a given frequency."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results import drawing
from lumbar_kernel.results.drawing import Picture
from lumbar_kernel.schema import SEVERITIES, frequencies

BINS = (0.0, 0.05, 0.15, 0.35, 0.65, 1.0)
"""Bin edges; most probabilities are small, so the bins are finer there."""

SIDE, MARGIN = 360, 44
"""Edge of a panel and its margin, pixels."""

INK, FAINT, DOT = (40, 40, 40), (200, 200, 200), (160, 90, 20)


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of one grade: `n` rows predicted between `low` and `high`, their mean prediction, and how often true."""

    severity: str
    low: float
    high: float
    n: int
    predicted: float
    observed: float


def reliability(labels: NDArray[np.integer], probabilities: FloatArray) -> list[ReliabilityBin]:
    """The bins of every grade that hold any row.

    Args:
        labels: (n,) 0..2.
        probabilities: (n, 3) made for the metric, whose weights are taken out: those that score best would else look as
            if they overrated Moderate and Severe.
    """
    table, expected = [], frequencies(probabilities)
    for index, severity in enumerate(SEVERITIES):
        predicted, observed = expected[:, index], labels == index
        for low, high in itertools.pairwise(BINS):
            inside = (predicted >= low) & ((predicted < high) | (high == BINS[-1]))
            if n := int(inside.sum()):
                means = float(predicted[inside].mean()), float(observed[inside].mean())
                table.append(ReliabilityBin(severity, low, high, n, *means))
    return table


def draw_reliability(table: Sequence[ReliabilityBin], path: Path) -> None:
    """Draw one panel a grade, predicted across and observed upwards; a dot's area grows with its rows.

    Raises:
        ConfigError: the suffix is none of `drawing.SUFFIXES`.
        OSError: the file cannot be written.
    """
    panels = [_panel(severity, [item for item in table if item.severity == severity]) for severity in SEVERITIES]
    drawing.save(np.hstack(panels), path)


def _panel(severity: str, bins: Sequence[ReliabilityBin]) -> Picture:
    panel = np.full((SIDE, SIDE, 3), 255, np.uint8)
    cv2.rectangle(panel, _place(0, 0), _place(1, 1), FAINT, 1)
    cv2.line(panel, _place(0, 0), _place(1, 1), FAINT, 1, cv2.LINE_AA)
    cv2.putText(panel, severity, (MARGIN, MARGIN - 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    axes = (("predicted", (SIDE // 2 - 34, SIDE - 12)), ("observed", (4, SIDE // 2)))
    for text, place in axes:
        cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, INK, 1, cv2.LINE_AA)
    most = max((item.n for item in bins), default=1)
    places = [_place(item.predicted, item.observed) for item in bins]
    for one, other in itertools.pairwise(places):
        cv2.line(panel, one, other, DOT, 1, cv2.LINE_AA)
    for item, place in zip(bins, places, strict=True):
        cv2.circle(panel, place, round(3 + 9 * (item.n / most) ** 0.5), DOT, -1, cv2.LINE_AA)
        cv2.putText(
            panel, str(item.n), (place[0] + 10, place[1] + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.33, INK, 1, cv2.LINE_AA
        )
    return panel


def _place(across: float, up: float) -> tuple[int, int]:
    inner = SIDE - 2 * MARGIN
    return round(MARGIN + across * inner), round(SIDE - MARGIN - up * inner)
