"""The grading process: read → localise → crop → grade → combine, study by study, then member by member."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
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
from lumbar_kernel.journal import Journal, run_key
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


@dataclass(frozen=True, eq=False)
class _Desk:
    """What every step of a run needs at hand."""

    tools: Tools
    recorder: Recorder
    journal: Journal
    budget: Budget
    emit: Callable[[Message], None]


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
    key = run_key(studies, weights_sha256=tools.manifest.sha256)
    with Journal(config.journal_path, key=key, resume=config.resume) as journal:
        desk = _Desk(tools, recorder, journal, budget, emit)
        finished, complete = _grade_everything(config, studies, order, desk)
        if complete:
            journal.remove()
    return Done(recorder=recorder, members=tuple(finished), complete=complete)


def _grade_everything(
    config: Config, studies: Sequence[StudyFiles], members: Sequence[MemberSpec], desk: _Desk
) -> tuple[list[str], bool]:
    """First pass over all studies, then member by member; returns the members that got through and whether all did."""
    first = _first_pass(members)
    others = [spec for spec in members if spec not in first]
    remaining = _restore(studies, [*first, *others], desk)
    works, all_studies = _grade_studies(config, remaining, first, desk)
    done = {spec.name: _grade_member(spec, works, desk) for spec in others}
    finished = [spec.name for spec in (*first, *others) if all_studies and done.get(spec.name, True)]
    return finished, all_studies and all(done.values())


def _restore(studies: Sequence[StudyFiles], members: Sequence[MemberSpec], desk: _Desk) -> list[StudyFiles]:
    """Emit the studies that the journal holds whole, and return the others; members in the order of the passes.

    Only whole blocks are left out, so that the others meet the same companions in their batches as without the
    interruption, and get the same grades to the last bit.
    """
    remaining: list[StudyFiles] = []
    for start in range(0, len(studies), STUDIES_AT_ONCE):
        block = studies[start : start + STUDIES_AT_ONCE]
        works = [work for item in block if (work := _recorded_work(item.study_id, members, desk.journal)) is not None]
        if len(works) < len(block):
            remaining += block
            continue
        for work in works:
            desk.emit(_update(work, desk))
    return remaining


def _recorded_work(study_id: str, members: Sequence[MemberSpec], journal: Journal) -> _Work | None:
    """A study as the journal holds it, None when a member that could grade it has not."""
    if (recorded := journal.study(study_id)) is None:
        return None
    work = _Work(recorded[0], confidence=recorded[1])
    for spec in members:
        if spec.view not in recorded[2]:
            continue
        if (probabilities := journal.grades(study_id, spec.name)) is None:
            return None
        _add(spec, work, probabilities)
    return work


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
    config: Config, studies: Sequence[StudyFiles], first: Sequence[MemberSpec], desk: _Desk
) -> tuple[list[_Work], bool]:
    """First pass: read, localise, crop and grade a few studies at a time with the best members."""
    budget = desk.budget
    works: list[_Work] = []
    estimate, pictures = Estimate(FIRST_GUESS_SECONDS), config.pictures
    with StudyReader(studies, workers=config.readers, ahead=config.ahead, timeout=READ_LIMIT_SECONDS) as reader:
        results = iter(reader)
        while count := _how_many_fit(budget, estimate):
            began = budget.elapsed()
            fresh = []
            for result in _take(results, count, desk.recorder):
                folder = config.output / "pictures" if pictures > 0 else None
                fresh.append(_prepare(result, desk, pictures=folder))
                pictures -= 1
            if not fresh:
                return works, True
            for spec in first:
                _grade(spec, fresh, desk)
            for work in fresh:
                desk.emit(_update(work, desk))
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


def _prepare(result: ReadResult, desk: _Desk, *, pictures: Path | None) -> _Work:
    """Localise and crop one study and record that; whatever fails leaves it with fewer views, down to none."""
    work = _cropped(result, desk, pictures=pictures)
    desk.journal.add_study(work.report, work.confidence, work.crops)
    return work


def _cropped(result: ReadResult, desk: _Desk, *, pictures: Path | None) -> _Work:
    """The crops of one study, with its part of the report."""
    tools, recorder = desk.tools, desk.recorder
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


def _grade_member(spec: MemberSpec, works: Sequence[_Work], desk: _Desk) -> bool:
    """A further pass of one member over all studies; returns whether it got through."""
    budget = desk.budget
    estimate = Estimate(spec.seconds_per_study)
    for start in range(0, len(works), STUDIES_AT_ONCE):
        block = works[start : start + STUDIES_AT_ONCE]
        if not budget.fits(estimate.seconds(len(block))):
            return False
        began = budget.elapsed()
        _grade(spec, block, desk)
        for work in block:
            desk.emit(_update(work, desk))
        estimate.add(budget.elapsed() - began, units=len(block))
    return True


def _grade(spec: MemberSpec, works: Sequence[_Work], desk: _Desk) -> None:
    """Add one member's grades to several studies, from the journal where it holds all of them."""
    able = [work for work in works if spec.view in work.crops]
    recorded = [desk.journal.grades(work.report.study_id, spec.name) for work in able]
    told = [probabilities for probabilities in recorded if probabilities is not None]
    if len(told) == len(able):
        for work, probabilities in zip(able, told, strict=True):
            _add(spec, work, probabilities)
    else:
        _grade_afresh(spec, able, desk)


def _grade_afresh(spec: MemberSpec, works: Sequence[_Work], desk: _Desk) -> None:
    """Let a member grade several studies; where that fails together it is tried one by one."""
    graded: list[FloatArray] = []  # stays empty when the guard had to step in
    alone = works[0].report.study_id if len(works) == 1 else None
    with desk.recorder.timed(f"grade {spec.name}"), desk.recorder.guard(alone, f"grade {spec.name}"):
        view = VIEWS[spec.view]
        crops = [work.crops[spec.view] for work in works]
        graded.extend(
            grade(crops, desk.tools.members[spec.name], view=view, groups=view.groups, device=desk.tools.device)
        )
    if not graded:
        for work in works if len(works) > 1 else ():
            _grade_afresh(spec, [work], desk)
        return
    for work, probabilities in zip(works, graded, strict=True):
        desk.journal.add_grades(work.report.study_id, spec.name, probabilities)
        _add(spec, work, probabilities)


def _add(spec: MemberSpec, work: _Work, probabilities: FloatArray) -> None:
    """Take a member's probabilities into a study's ensemble."""
    groups = VIEWS[spec.view].groups
    weights = np.array([_share(spec, group) if (group := group_of(row)) in groups else 0.0 for row in ROWS])
    work.ensemble.add(probabilities, weights=weights)
    work.members.append(spec.name)


def _update(work: _Work, desk: _Desk) -> Update:
    """The study's grades as they stand: mean, calibration, study maximum, lean on the prior where unsure."""
    said, calibration = work.ensemble.said, desk.tools.manifest.calibration
    grades = work.ensemble.result()
    if said.any():
        calibrated = np.where(said[:, None], calibration.apply(grades), grades)
        grades = scale_max_severe(calibrated, calibration.max_severe_factor)
        grades = blend_with_prior(grades, np.where(said, work.confidence, 0.0))
    failures = desk.recorder.failures(work.report.study_id) or work.report.failures
    members, rows = tuple(work.members), int(said.sum())
    return Update(grades=grades, report=replace(work.report, members=members, graded_rows=rows, failures=failures))
