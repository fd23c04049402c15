"""The part of the report that is known of a study before it is graded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.localisation.axial import AxialLevel
from lumbar_kernel.localisation.coverage import doubt_of_count
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.results.report import Failure, LevelReport, SeriesReport, StudyReport, UnusedSeries
from lumbar_kernel.schema import (
    AXIAL_T2,
    LEVEL_NAMES,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SERIES_DESCRIPTIONS,
    SIDES,
)
from lumbar_kernel.slice_choice import sagittal_showing
from lumbar_kernel.study import Study


def study_report(
    study: Study,
    axial: Sequence[AxialLevel | None],
    failures: tuple[Failure, ...],
    *,
    landmarks: Landmarks | None = None,
    moves: Mapping[str, FloatArray] | None = None,
) -> StudyReport:
    """The series used, what is missing, and where the levels were found.

    Args:
        study: as it was graded.
        axial: the axial slice of each level.
        failures: of its stages.
        landmarks: of the study, None where none were found.
        moves: role → mm LPS by which its series were moved before; points on them are given where the files have them.
    """
    missing = [f"no {role} series" for role in SERIES_DESCRIPTIONS if not study.slices(role)]
    if landmarks is not None and study.slices(AXIAL_T2):
        missing += [f"no axial slice at {name}" for name, seen in zip(LEVEL_NAMES, axial, strict=True) if seen is None]
        found = [(name, seen) for name, seen in zip(LEVEL_NAMES, axial, strict=True) if seen is not None]
        missing += [f"nothing on the axial slice at {name}" for name, seen in found if seen.item.is_blank]
    if landmarks is not None:
        missing += _not_shown(study, landmarks)
        unsure = doubt_of_count((*study.slices(SAGITTAL_T1), *study.slices(SAGITTAL_T2)), landmarks.disc_margin)
        missing += [unsure] if unsure else []
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
        landmarks=None if landmarks is None else _by_level(landmarks, axial, study, moves or {}),
    )


def _not_shown(study: Study, landmarks: Landmarks) -> list[str]:
    """A sentence on each foramen and canal that no slice of the sagittal series shows, where there is one."""
    t1, t2 = study.slices(SAGITTAL_T1), study.slices(SAGITTAL_T2)
    places = [
        (t1, f"sagittal T1 slice at the {side} foramen of {name}", point)
        for points, name in zip(landmarks.foramina, LEVEL_NAMES, strict=True)
        for point, side in zip(points, SIDES, strict=True)
    ]
    places += [
        (t2, f"sagittal T2 slice at the canal of {name}", point)
        for point, name in zip(landmarks.canal, LEVEL_NAMES, strict=True)
    ]
    missing = []
    for slices, what, point in places:
        if slices and (item := sagittal_showing(slices, point)) is None:
            missing.append(f"no {what}")
        elif slices and item is not None and item.is_blank:
            missing.append(f"nothing on the {what}")
    return missing


def _by_level(
    landmarks: Landmarks, axial: Sequence[AxialLevel | None], study: Study, moves: Mapping[str, FloatArray]
) -> dict[str, LevelReport]:
    """Landmarks for the report, mm LPS to a hundredth, each in the coordinates of the files that show it."""
    sagittal = SAGITTAL_T1 if study.slices(SAGITTAL_T1) else SAGITTAL_T2

    def by_side(points: FloatArray, role: str) -> dict[str, list[float]]:
        return dict(zip(SIDES, np.round(points - moves.get(role, 0.0), 2).tolist(), strict=True))

    series_of = {id(item): series.series_id for series in study.series for item in series.slices}
    found = {}
    for index, (level, seen) in enumerate(zip(LEVELS, axial, strict=True)):
        confidence = landmarks.confidence[index]
        found[level] = LevelReport(
            canal=np.round(landmarks.canal[index], 2).tolist(),
            foramina=by_side(landmarks.foramina[index], sagittal),
            recesses=None if seen is None else by_side(seen.recesses, AXIAL_T2),
            axial_series_id=None if seen is None else series_of.get(id(seen.item)),
            axial_instance_number=None if seen is None else seen.item.instance_number,
            confidence=round(float(confidence), 3),
            foramen_confidence=np.round(landmarks.foramen_confidence[index], 3).tolist(),
            recess_confidence=None if seen is None else np.round(confidence * seen.confidence, 3).tolist(),
        )
    return found


def nothing_usable(study: Study) -> str:
    """Why a study without series has none."""
    unused = (f"series {item.series_id} ({item.description!r}): {item.reason}" for item in study.decisions)
    reasons = "; ".join([*study.problems, *unused][:3]) or "no file was found"
    return f"study {study.study_id} holds no usable series: {reasons}"
