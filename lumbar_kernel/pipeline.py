"""The grading process: read → localise → crop → grade → combine, study by study, then member by member."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.axial import AxialView, axial_views
from lumbar_kernel.budget import Budget, Estimate
from lumbar_kernel.checkpoints import MemberSpec
from lumbar_kernel.config import Config
from lumbar_kernel.crop import VIEWS, Crops, cut_crops
from lumbar_kernel.ensemble import Ensemble, blend_with_prior, scale_max_severe
from lumbar_kernel.errors import DicomError, LocalisationError, StudyError
from lumbar_kernel.grade import grade
from lumbar_kernel.localise import Landmarks, localise
from lumbar_kernel.messages import Done, Message, Ready, Update
from lumbar_kernel.pictures import draw_study
from lumbar_kernel.readers import ReadResult, StudyReader
from lumbar_kernel.report import Recorder, StudyReport
from lumbar_kernel.schema import GROUPS, LEVELS, ROWS, group_of
from lumbar_kernel.study import Study, StudyFiles
from lumbar_kernel.study_report import nothing_usable, row_confidence, study_report
from lumbar_kernel.tools import Tools, load_tools

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

STUDIES_AT_ONCE = 4
"""Studies graded together: enough crops for full batches, few enough that the first grades come early."""

READ_LIMIT_SECONDS = 120.0
"""A study that takes a reader longer than this is given up; the slowest real one takes three seconds."""

FIRST_GUESS_SECONDS = 3.0
"""Expected seconds of the first pass for one study, until some have been timed."""


@dataclass(eq=False)
class _Work:
    """One study between its crops and its last grade."""

    report: StudyReport
    crops: dict[str, Crops] = field(default_factory=dict)
    confidence: FloatArray = field(default_factory=lambda: np.zeros(len(ROWS)))
    ensemble: Ensemble = field(default_factory=Ensemble)
    members: list[str] = field(default_factory=list)


def run(config: Config, studies: Sequence[StudyFiles], *, budget: Budget, emit: Callable[[Message], None]) -> Done:
    """Grade studies, emit every improvement, and return what closes the account.

    Args:
        config: options of the run.
        studies: in the order in which they are graded.
        budget: asked before every step.
        emit: takes messages; the receiver owns the file.

    Raises:
        WeightsError: no localiser can be loaded, so nothing can be graded.
    """
    recorder = Recorder(strict=config.strict)
    with recorder.timed("load weights"):
        tools, failed = load_tools(config)
    emit(Ready(device=str(tools.device), weights_sha256=tools.manifest.sha256, members_failed=failed))
    order = [spec for spec in tools.manifest.members if spec.name in tools.members]
    first = _first_pass(order)
    works, complete = _grade_studies(config, studies, tools, first, recorder, budget=budget, emit=emit)
    finished = [spec.name for spec in first] if complete else []
    for spec in order:
        if spec in first:
            continue
        done = _grade_member(spec, works, tools, recorder, budget=budget, emit=emit)
        complete = complete and done
        finished += [spec.name] if done else []
    return Done(recorder=recorder, members=tuple(finished), complete=complete)


def _first_pass(members: Sequence[MemberSpec]) -> list[MemberSpec]:
    """The fewest best members that together grade every condition: the heaviest member of each."""
    chosen: list[MemberSpec] = []
    for group in GROUPS:
        able = [spec for spec in members if group in VIEWS[spec.view].groups]
        if able:
            best = max(able, key=lambda spec: _share(spec, group))
            chosen += [best] if best not in chosen else []
    return chosen


def _share(spec: MemberSpec, group: str) -> float:
    return spec.ensemble_weight[VIEWS[spec.view].groups.index(group)]


def _grade_studies(
    config: Config,
    studies: Sequence[StudyFiles],
    tools: Tools,
    first: Sequence[MemberSpec],
    recorder: Recorder,
    *,
    budget: Budget,
    emit: Callable[[Message], None],
) -> tuple[list[_Work], bool]:
    """First pass: read, localise, crop and grade a few studies at a time with the best members."""
    works: list[_Work] = []
    estimate, pictures = Estimate(FIRST_GUESS_SECONDS), config.pictures
    with StudyReader(studies, workers=config.readers, ahead=config.ahead, timeout=READ_LIMIT_SECONDS) as reader:
        results = iter(reader)
        while count := _how_many_fit(budget, estimate):
            began = budget.elapsed()
            fresh = []
            for result in _take(results, count, recorder):
                folder = config.output / "pictures" if pictures > 0 else None
                fresh.append(_prepare(result, tools, recorder, pictures=folder))
                pictures -= 1
            if not fresh:
                return works, True
            for spec in first:
                _grade(spec, fresh, tools, recorder)
            for work in fresh:
                emit(_update(work, tools))
            works += fresh
            estimate.add(budget.elapsed() - began, units=len(fresh))
    logger.warning("time for %d of %d studies", len(works), len(studies))
    return works, len(works) == len(studies)


def _how_many_fit(budget: Budget, estimate: Estimate) -> int:
    """How many studies may be taken together before the time is up, 0 when not even one."""
    fitting = (count for count in range(STUDIES_AT_ONCE, 0, -1) if budget.fits(estimate.seconds(count)))
    return next(fitting, 0)


def _take(results: Iterable[ReadResult], count: int, recorder: Recorder) -> list[ReadResult]:
    """The next few studies; the seconds are those that grading waited for reading."""
    with recorder.timed("wait for reading"):
        return list(islice(results, count))


def _prepare(result: ReadResult, tools: Tools, recorder: Recorder, *, pictures: Path | None) -> _Work:
    """Localise and crop one study; whatever fails leaves the study with fewer views, down to none."""
    study_id, study = result.files.study_id, result.study
    if study is None:
        recorder.note(study_id, "read", DicomError(result.error or "the reader gave no reason"))
        return _Work(StudyReport(study_id=study_id, failures=recorder.failures(study_id)))
    if not study.series:
        recorder.note(study_id, "read", StudyError(nothing_usable(study)))
    work = _Work(study_report(study, (), recorder.failures(study_id)))
    landmarks: Landmarks | None = None
    views: tuple[AxialView | None, ...] = (None,) * len(LEVELS)
    if study.series:
        with recorder.timed("localise"), recorder.guard(study_id, "localise"):
            landmarks = _located(study, tools, recorder)
    if landmarks is not None:
        with recorder.timed("localise"), recorder.guard(study_id, "axial"):
            views = axial_views(study, landmarks, tools.axial)
        with recorder.timed("crop"), recorder.guard(study_id, "crop"):
            work.crops = cut_crops(study, landmarks, views)
        work.confidence = row_confidence(landmarks)
        if pictures is not None:
            with recorder.timed("pictures"), recorder.guard(study_id, "pictures"):
                draw_study(study, landmarks, views, pictures)
    work.report = study_report(study, views, recorder.failures(study_id), landmarks=landmarks)
    return work


def _located(study: Study, tools: Tools, recorder: Recorder) -> Landmarks | None:
    """Landmarks, or None with a note: a study without visible levels is a fact, not a fault of the program."""
    try:
        return localise(study, tools.sagittal)
    except LocalisationError as error:
        recorder.note(study.study_id, "localise", error)
        return None


def _grade_member(
    spec: MemberSpec,
    works: Sequence[_Work],
    tools: Tools,
    recorder: Recorder,
    *,
    budget: Budget,
    emit: Callable[[Message], None],
) -> bool:
    """A further pass of one member over all studies; returns whether it got through."""
    estimate = Estimate(spec.seconds_per_study)
    for start in range(0, len(works), STUDIES_AT_ONCE):
        block = works[start : start + STUDIES_AT_ONCE]
        if not budget.fits(estimate.seconds(len(block))):
            return False
        began = budget.elapsed()
        _grade(spec, block, tools, recorder)
        for work in block:
            emit(_update(work, tools))
        estimate.add(budget.elapsed() - began, units=len(block))
    return True


def _grade(spec: MemberSpec, works: Sequence[_Work], tools: Tools, recorder: Recorder) -> None:
    """Add one member's grades to several studies; where that fails together it is tried one by one."""
    able = [work for work in works if spec.view in work.crops]
    if not able:
        return
    graded: list[FloatArray] = []  # stays empty when the guard had to step in
    alone = able[0].report.study_id if len(able) == 1 else None
    with recorder.timed(f"grade {spec.name}"), recorder.guard(alone, f"grade {spec.name}"):
        view = VIEWS[spec.view]
        crops = [work.crops[spec.view] for work in able]
        nets = tools.members[spec.name]
        graded.extend(grade(crops, nets, view=view, groups=view.groups, device=tools.device))
    if not graded:
        for work in able if len(able) > 1 else ():
            _grade(spec, [work], tools, recorder)
        return
    weights = np.array([_share(spec, group) if (group := group_of(row)) in view.groups else 0.0 for row in ROWS])
    for work, probabilities in zip(able, graded, strict=True):
        work.ensemble.add(probabilities, weights=weights)
        work.members.append(spec.name)


def _update(work: _Work, tools: Tools) -> Update:
    """The study's grades as they stand: mean, calibration, study maximum, lean on the prior where unsure."""
    said, calibration = work.ensemble.said, tools.manifest.calibration
    grades = work.ensemble.result()
    if said.any():
        calibrated = np.where(said[:, None], calibration.apply(grades), grades)
        grades = scale_max_severe(calibrated, calibration.max_severe_factor)
        grades = blend_with_prior(grades, np.where(said, work.confidence, 0.0))
    entry = {**work.report.__dict__, "members": tuple(work.members), "graded_rows": int(said.sum())}
    return Update(grades=grades, report=StudyReport(**entry))
