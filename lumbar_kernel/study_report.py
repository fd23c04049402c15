"""What is known of one study before it is graded: its part of the report, and how far its landmarks are trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.axial import AxialView
from lumbar_kernel.localise import Landmarks
from lumbar_kernel.report import Failure, SeriesReport, StudyReport
from lumbar_kernel.schema import (
    AXIAL_T2,
    FORAMINAL,
    LEVEL_NAMES,
    LEVELS,
    ROWS,
    SERIES_DESCRIPTIONS,
    SIDES,
    group_of,
)
from lumbar_kernel.study import Study

SURE = 0.3
"""Confidence of a level from which its grades count in full; below it they lean on the prior."""


def study_report(
    study: Study,
    views: Sequence[AxialView | None],
    failures: tuple[Failure, ...],
    *,
    landmarks: Landmarks | None = None,
) -> StudyReport:
    """The series used, what is missing, and where the levels were found."""
    missing = [f"no {role} series" for role in SERIES_DESCRIPTIONS if not study.slices(role)]
    if landmarks is not None and study.slices(AXIAL_T2):
        missing += [f"no axial slice at {name}" for name, view in zip(LEVEL_NAMES, views, strict=True) if view is None]
    return StudyReport(
        study_id=study.study_id,
        series=tuple(SeriesReport(item.series_id, item.role, len(item.slices)) for item in study.series),
        missing=(*missing, *study.problems),
        failures=failures,
        confidence=None if landmarks is None else float(landmarks.confidence.mean()),
        landmarks=None if landmarks is None else _as_table(landmarks, views),
    )


def _as_table(landmarks: Landmarks, views: Sequence[AxialView | None]) -> dict[str, object]:
    """Landmarks by level for the report, mm LPS to a hundredth."""

    def rounded(values: FloatArray) -> object:
        return np.round(values, 2).tolist()

    table: dict[str, object] = {}
    for index, level in enumerate(LEVELS):
        view = views[index]
        table[level] = {
            "canal": rounded(landmarks.canal[index]),
            "foramina": dict(zip(SIDES, (rounded(point) for point in landmarks.foramina[index]), strict=True)),
            "recesses": None
            if view is None
            else dict(zip(SIDES, (rounded(point) for point in view.recesses), strict=True)),
            "axial_instance_number": None if view is None else view.item.instance_number,
            "confidence": round(float(landmarks.confidence[index]), 3),
            "foramen_confidence": rounded(landmarks.foramen_confidence[index]),
        }
    return table


def nothing_usable(study: Study) -> str:
    """Why a study without series has none."""
    reasons = "; ".join(study.problems[:3]) or "no file was found"
    return f"study {study.study_id} holds no usable series: {reasons}"


def row_confidence(landmarks: Landmarks) -> FloatArray:
    """How far each of the 25 rows may be trusted for its place, 0..1: its level, and its own landmark."""
    level = np.clip(landmarks.confidence / SURE, 0, 1)
    trust = np.empty(len(ROWS))
    for index, row in enumerate(ROWS):
        k = LEVELS.index(row[-5:])
        trust[index] = level[k]
        if group_of(row) == FORAMINAL:
            side = SIDES.index(row.split("_")[0])
            seen = np.clip(landmarks.foramen_confidence[k, side] / SURE, 0, 1)
            trust[index] *= 0.5 + 0.5 * seen
    return trust
