"""The part of the report that is known of a study before it is graded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.localisation.axial import AxialView
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.resampling import sagittal_showing
from lumbar_kernel.results.report import Failure, SeriesReport, StudyReport, UnusedSeries
from lumbar_kernel.schema import (
    AXIAL_T2,
    LEVEL_NAMES,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
    SIDES,
)
from lumbar_kernel.study import Study


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
    if landmarks is not None:
        missing += _not_shown(study, landmarks)
    known = {item.series_id: item for item in study.decisions}
    series = [
        SeriesReport(item.series_id, item.role, len(item.slices), decision.description, decision.reason)
        if (decision := known.get(item.series_id))
        else SeriesReport(item.series_id, item.role, len(item.slices))
        for item in study.series
    ]
    unused = (item for item in study.decisions if item.role is None)
    return StudyReport(
        study_id=study.study_id,
        series=tuple(series),
        unused=tuple(UnusedSeries(item.series_id, item.description, item.reason) for item in unused),
        missing=(*missing, *study.problems),
        failures=failures,
        confidence=None if landmarks is None else float(landmarks.confidence.mean()),
        landmarks=None if landmarks is None else _as_table(landmarks, views, study),
    )


def _not_shown(study: Study, landmarks: Landmarks) -> list[str]:
    """A sentence on each foramen and canal that no slice of the sagittal series shows, where there is one."""
    t1, t2 = study.slices(SAGITTAL_T1), study.slices(SAGITTAL_T2)
    foramina = [
        f"no sagittal T1 slice at the {side} foramen of {name}"
        for points, name in zip(landmarks.foramina, LEVEL_NAMES, strict=True)
        for point, side in zip(points, SIDES, strict=True)
        if t1 and sagittal_showing(t1, point) is None
    ]
    canals = [
        f"no sagittal T2 slice at the canal of {name}"
        for point, name in zip(landmarks.canal, LEVEL_NAMES, strict=True)
        if t2 and sagittal_showing(t2, point) is None
    ]
    return foramina + canals


def _as_table(landmarks: Landmarks, views: Sequence[AxialView | None], study: Study) -> dict[str, object]:
    """Landmarks by level for the report, mm LPS to a hundredth."""

    def rounded(values: FloatArray) -> object:
        return np.round(values, 2).tolist()

    series_of = {id(item): series.series_id for series in study.series for item in series.slices}
    table: dict[str, object] = {}
    for index, level in enumerate(LEVELS):
        view = views[index]
        table[level] = {
            "canal": rounded(landmarks.canal[index]),
            "foramina": dict(zip(SIDES, (rounded(point) for point in landmarks.foramina[index]), strict=True)),
            "recesses": None
            if view is None
            else dict(zip(SIDES, (rounded(point) for point in view.recesses), strict=True)),
            "axial_series_id": None if view is None else series_of.get(id(view.item)),
            "axial_instance_number": None if view is None else view.item.instance_number,
            "confidence": round(float(landmarks.confidence[index]), 3),
            "foramen_confidence": np.round(landmarks.foramen_confidence[index], 3).tolist(),
            "recess_confidence": None
            if view is None
            else np.round(landmarks.confidence[index] * view.confidence, 3).tolist(),
        }
    return table


def nothing_usable(study: Study) -> str:
    """Why a study without series has none."""
    unused = (f"series {item.series_id} ({item.description!r}): {item.reason}" for item in study.decisions)
    reasons = "; ".join([*study.problems, *unused][:3]) or "no file was found"
    return f"study {study.study_id} holds no usable series: {reasons}"
