"""One study from its pixels to its crops, with its part of the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lumbar_kernel.axial import AxialView, axial_views
from lumbar_kernel.crop import cut_crops
from lumbar_kernel.desk import Desk, Work
from lumbar_kernel.errors import DicomError, LocalisationError, StudyError
from lumbar_kernel.localise import Landmarks, localise
from lumbar_kernel.pictures import draw_study
from lumbar_kernel.readers import ReadResult
from lumbar_kernel.report import StudyReport
from lumbar_kernel.schema import AXIAL_T2, LEVELS
from lumbar_kernel.study import Study
from lumbar_kernel.study_report import nothing_usable, row_confidence, study_report


def prepare(result: ReadResult, desk: Desk, *, stride: int = 1, pictures: Path | None = None) -> Work:
    """Localise and crop one study; whatever fails leaves it with fewer views, down to none.

    Args:
        result: what came of reading it.
        desk: for the steps; its journal takes the study unless it is thin.
        stride: of the sagittal slices on which the levels are looked for; above 1 the study is thin.
        pictures: folder for a picture of it, if there is to be one.
    """
    work = _cropped(result, desk, stride=stride, pictures=pictures)
    if not work.thin:
        desk.journal.add_study(work.report, work.confidence, work.crops)
    return work


def _cropped(result: ReadResult, desk: Desk, *, stride: int, pictures: Path | None) -> Work:
    recorder, tools = desk.recorder, desk.tools
    study_id, study = result.files.study_id, result.study
    if study is None:
        recorder.note(study_id, "read", DicomError(result.error or "the reader gave no reason"))
        return Work(StudyReport(study_id=study_id, failures=recorder.failures(study_id)))
    if not study.series:
        recorder.note(study_id, "read", StudyError(nothing_usable(study)))
    landmarks: Landmarks | None = None
    views: tuple[AxialView | None, ...] = (None,) * len(LEVELS)
    work = Work(study_report(study, (), recorder.failures(study_id)), thin=stride > 1)
    if study.series:
        landmarks = desk.step(
            "localise", [study_id], lambda: _located(study, desk, stride), nets=tools.sagittal, effort=1 / stride
        )
    if landmarks is not None:
        found = landmarks
        views = (
            desk.step("axial", [study_id], lambda: axial_views(study, found, tools.axial), nets=tools.axial) or views
        )
        work.crops = desk.step("crop", [study_id], lambda: cut_crops(study, found, views)) or {}
        work.confidence = row_confidence(found)
        if pictures is not None:
            desk.step("pictures", [study_id], lambda: draw_study(study, found, views, pictures))
    work.report = study_report(study, views, recorder.failures(study_id), landmarks=landmarks)
    if work.thin:
        told = f"levels looked for on every {stride}nd sagittal slice only, for want of time"
        work.report = replace(work.report, missing=(*work.report.missing, told))
    return work


def _located(study: Study, desk: Desk, stride: int) -> Landmarks | None:
    """Landmarks, or None with a note: a study without visible levels is a fact, not a fault of the program."""
    try:
        return localise(thinned(study, stride), desk.tools.sagittal)
    except LocalisationError as error:
        desk.recorder.note(study.study_id, "localise", error)
        return None


def thinned(study: Study, stride: int) -> Study:
    """The study with every so-manieth slice of its sagittal series, the middle one of each among them."""
    return replace(
        study,
        series=tuple(
            item
            if item.role == AXIAL_T2
            else replace(item, slices=item.slices[len(item.slices) // 2 % stride :: stride])
            for item in study.series
        ),
    )
