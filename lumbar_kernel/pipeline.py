"""The grading process: read → localise → crop → grade → combine, study by study, then member by member."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lumbar_kernel.axial import AxialView, axial_views
from lumbar_kernel.budget import Budget, Estimate
from lumbar_kernel.checkpoints import Manifest, MemberSpec, load_localiser, load_member, read_manifest
from lumbar_kernel.config import Config
from lumbar_kernel.crop import VIEWS, Crops, cut_crops
from lumbar_kernel.ensemble import Ensemble, blend_with_prior, scale_max_severe
from lumbar_kernel.errors import DicomError, LocalisationError, StudyError, WeightsError
from lumbar_kernel.grade import GradeNet, grade
from lumbar_kernel.heatmaps import HeatmapNet
from lumbar_kernel.localise import Landmarks, localise
from lumbar_kernel.messages import Done, Message, Ready, Update
from lumbar_kernel.pictures import draw_study
from lumbar_kernel.readers import ReadResult, StudyReader
from lumbar_kernel.report import Recorder, SeriesReport, StudyReport
from lumbar_kernel.schema import AXIAL_T2, FORAMINAL, GROUPS, LEVELS, ROWS, SERIES_DESCRIPTIONS, SIDES, group_of
from lumbar_kernel.study import Study, StudyFiles

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

STUDIES_AT_ONCE = 4
"""Studies graded together: enough crops for full batches, few enough that the first grades come early."""

READ_LIMIT_SECONDS = 120.0
"""A study that takes a reader longer than this is given up; the slowest real one takes three seconds."""

FIRST_GUESS_SECONDS = 3.0
"""Expected seconds of the first pass for one study, until some have been timed."""

SURE = 0.3
"""Confidence of a level from which its grades count in full; below it they lean on the prior."""


@dataclass(eq=False)
class _Work:
    """One study between its crops and its last grade."""

    report: StudyReport
    crops: dict[str, Crops] = field(default_factory=dict)
    confidence: FloatArray = field(default_factory=lambda: np.zeros(len(ROWS)))
    ensemble: Ensemble = field(default_factory=Ensemble)
    members: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Tools:
    """Everything that was loaded from the weights folder."""

    manifest: Manifest
    device: torch.device
    sagittal: list[HeatmapNet]
    axial: list[HeatmapNet]
    members: dict[str, list[GradeNet]]


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
        tools, failed = _load(config)
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


def pick_device(name: str) -> torch.device:
    """The device asked for; "auto" takes CUDA only where a real operation works on it.

    An old card may be reported as available and still fail at the first kernel, so a product is computed.
    """
    if name != "auto":
        return torch.device(name)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    try:
        probe = torch.ones(8, 8, device="cuda")
        if float((probe @ probe).sum().item()) == 512.0:
            return torch.device("cuda")
    except (RuntimeError, AssertionError) as error:
        logger.warning("the GPU does not work (%s), grading on the processor", error)
    return torch.device("cpu")


def _load(config: Config) -> tuple[_Tools, dict[str, str]]:
    """The nets of the manifest; a member that cannot be loaded is left out and named with its reason."""
    manifest, device = read_manifest(config.weights), pick_device(config.device)
    members, failed = {}, {}
    for spec in manifest.members:
        try:
            members[spec.name] = load_member(spec, manifest.folder, device=device)
        except WeightsError as error:
            if config.strict:
                raise
            failed[spec.name] = str(error)
    tools = _Tools(
        manifest=manifest,
        device=device,
        sagittal=load_localiser(manifest.sagittal, manifest.folder, device=device),
        axial=load_localiser(manifest.axial, manifest.folder, device=device),
        members=members,
    )
    return tools, failed


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
    tools: _Tools,
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


def _prepare(result: ReadResult, tools: _Tools, recorder: Recorder, *, pictures: Path | None) -> _Work:
    """Localise and crop one study; whatever fails leaves the study with fewer views, down to none."""
    study_id, study = result.files.study_id, result.study
    if study is None:
        recorder.note(study_id, "read", DicomError(result.error or "the reader gave no reason"))
        return _Work(StudyReport(study_id=study_id, failures=recorder.failures(study_id)))
    if not study.series:
        recorder.note(study_id, "read", StudyError(_nothing_usable(study)))
    work = _Work(_report_of(study, (), recorder))
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
        work.confidence = _confidence(landmarks, views)
        if pictures is not None:
            with recorder.timed("pictures"), recorder.guard(study_id, "pictures"):
                draw_study(study, landmarks, views, pictures)
    work.report = _report_of(study, views, recorder, landmarks=landmarks)
    return work


def _located(study: Study, tools: _Tools, recorder: Recorder) -> Landmarks | None:
    """Landmarks, or None with a note: a study without visible levels is a fact, not a fault of the program."""
    try:
        return localise(study, tools.sagittal)
    except LocalisationError as error:
        recorder.note(study.study_id, "localise", error)
        return None


def _nothing_usable(study: Study) -> str:
    reasons = "; ".join(study.problems[:3]) or "no file was found"
    return f"study {study.study_id} holds no usable series: {reasons}"


def _confidence(landmarks: Landmarks, views: Sequence[AxialView | None]) -> FloatArray:
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


def _grade_member(
    spec: MemberSpec,
    works: Sequence[_Work],
    tools: _Tools,
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


def _grade(spec: MemberSpec, works: Sequence[_Work], tools: _Tools, recorder: Recorder) -> None:
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


def _update(work: _Work, tools: _Tools) -> Update:
    """The study's grades as they stand: mean, calibration, study maximum, lean on the prior where unsure."""
    said, calibration = work.ensemble.said, tools.manifest.calibration
    grades = work.ensemble.result()
    if said.any():
        calibrated = np.where(said[:, None], calibration.apply(grades), grades)
        grades = scale_max_severe(calibrated, calibration.max_severe_factor)
        grades = blend_with_prior(grades, np.where(said, work.confidence, 0.0))
    entry = {**work.report.__dict__, "members": tuple(work.members), "graded_rows": int(said.sum())}
    return Update(grades=grades, report=StudyReport(**entry))


def _report_of(
    study: Study, views: Sequence[AxialView | None], recorder: Recorder, *, landmarks: Landmarks | None = None
) -> StudyReport:
    """What is known of a study before it is graded."""
    missing = [f"no {role} series" for role in SERIES_DESCRIPTIONS if not study.slices(role)]
    if landmarks is not None and study.slices(AXIAL_T2):
        missing += [
            f"no axial slice at {level.upper().replace('_', '/')}"
            for level, view in zip(LEVELS, views, strict=True)
            if view is None
        ]
    return StudyReport(
        study_id=study.study_id,
        series=tuple(SeriesReport(item.series_id, item.role, len(item.slices)) for item in study.series),
        missing=(*missing, *study.problems),
        failures=recorder.failures(study.study_id),
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
