"""The stages of one study in a worker, each announced, timed, guarded and checked in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.checks import require_finite
from lumbar_kernel.errors import DicomError, LocalisationError, StudyError
from lumbar_kernel.grading.crops import Crops, cut_crops
from lumbar_kernel.grading.ensemble import row_weights
from lumbar_kernel.localisation.axial import NO_AXIAL_LEVELS, AxialLevels, axial_levels
from lumbar_kernel.localisation.landmarks import Landmarks, localise
from lumbar_kernel.localisation.reformat import with_reformatted_axials
from lumbar_kernel.localisation.series_shift import Alignment, align_series
from lumbar_kernel.models.checkpoints import LoadedModels
from lumbar_kernel.models.manifest import MemberSpec
from lumbar_kernel.results.pictures import draw_study
from lumbar_kernel.results.report import Failure, StudyReport
from lumbar_kernel.results.study_report import nothing_usable, study_report
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.devices import CPU, device_fault
from lumbar_kernel.runtime.fault_injection import with_injected_faults
from lumbar_kernel.runtime.messages import Message, Note, Shard, Step
from lumbar_kernel.runtime.reader_process import ReadResult
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.scheduler import Scheduler
from lumbar_kernel.schema import AXIAL_T2, ROWS
from lumbar_kernel.study import Study

T = TypeVar("T")


@dataclass(eq=False)
class StudyState:
    """One study between its crops and its last grade.

    Attributes:
        report: its part of the report so far.
        crops: by view.
        row_weights: (25,) share of the members in each row, 0 to 1; the rest is the prior's.
        reduced: whether its levels were localised on some of its sagittal slices only.
        predictions: member → its (25, 3) probabilities.
    """

    report: StudyReport
    crops: dict[str, Crops] = field(default_factory=dict)
    row_weights: FloatArray = field(default_factory=lambda: np.zeros(len(ROWS)))
    reduced: bool = False
    predictions: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def study_id(self) -> str:
        """As in the row ids."""
        return self.report.study_id

    def lacks(self, spec: MemberSpec) -> bool:
        """Whether a member could grade the study and has not."""
        return spec.view in self.crops and spec.name not in self.predictions


@dataclass(eq=False)
class StageRunner:
    """Runs stages: announces each to the supervisor, times it, guards it, and checks its result.

    Attributes:
        shard: the work of this process, and the device that grades; its `given_up` stages are not tried.
        recorder: collects failures and seconds.
        budget: measures how long a stage takes.
        scheduler: learns from the measured seconds.
        emit: sends messages to the supervisor.
        dropped: stages that are skipped for all studies, with the reason.
    """

    shard: Shard
    recorder: Recorder
    budget: Budget
    scheduler: Scheduler
    emit: Callable[[Message], None]
    dropped: dict[str, str] = field(default_factory=dict)
    _on_cpu: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.dropped |= {stage: item.message for (study, stage), item in self.shard.given_up.items() if study is None}

    def run(
        self,
        stage: str,
        studies: Sequence[str],
        call: Callable[[], T],
        *,
        nets: Sequence[nn.Module] = (),
        check: Callable[[T], None] = require_finite,
        effort: float = 1.0,
    ) -> T | None:
        """Run one stage of some studies.

        Args:
            stage: name, as in the report.
            studies: ids; when there is only one, an error is recorded as that study's.
            call: does the work.
            nets: networks that it uses; they move to the processor when the accelerator lacks memory for them.
            check: raises for a result that must not be used.
            effort: fraction of the usual work.

        Returns:
            What the call returned, None when it failed; the failure is recorded.
        """
        only_study = studies[0] if len(studies) == 1 else None
        if (known := self._known_failure(stage, only_study)) is not None:
            self.recorder.add(only_study, known)
            return None
        name = f"{stage} on {CPU}" if stage in self._on_cpu else stage
        self.emit(Step(stage, tuple(studies), self.recorder.stages))
        began, result, succeeded = self.budget.elapsed(), None, False
        try:
            with (
                self.recorder.timed(name),
                self.recorder.guard(only_study, name, passing=(torch.cuda.OutOfMemoryError,)),
            ):
                value = with_injected_faults(name, studies, call)
                check(value)
                result, succeeded = value, True
        except torch.cuda.OutOfMemoryError as error:
            reason = " ".join(str(error).split())
        else:
            if not succeeded:
                self._require_device()
            self.scheduler.learn(stage, self.budget.elapsed() - began, studies=effort * max(1, len(studies)))
            return result
        if self._free_memory(stage, nets, reason):
            return self.run(stage, studies, call, nets=nets, check=check, effort=effort)
        return None

    def _known_failure(self, stage: str, study_id: str | None) -> Failure | None:
        """Why a stage must not be tried for this study, or for any study; None when it may be."""
        if stage in self.dropped:
            return Failure(stage, "Dropped", self.dropped[stage])
        return self.shard.given_up.get((study_id, stage)) if study_id else None

    def _free_memory(self, stage: str, nets: Sequence[nn.Module], reason: str) -> bool:
        """Move the stage's networks to the processor if time allows, else skip the stage from now on."""
        can_move = bool(nets) and stage not in self._on_cpu
        if can_move and self.scheduler.fits_on_cpu(stage, studies=len(self.shard.studies)):
            self._on_cpu.add(stage)
            for net in nets:
                net.to(CPU)
            self.recorder.add(None, Failure(stage, "OutOfMemoryError", f"continues on the processor: {reason}"))
            return True
        self.dropped[stage] = f"no memory: {reason}"
        self.recorder.add(None, Failure(stage, "OutOfMemoryError", f"skipped from here on: {reason}"))
        return False

    def _require_device(self) -> None:
        """After an error: end this process if its accelerator no longer works, so that another device takes over."""
        device = self.shard.device
        if device != CPU and (fault := device_fault(device)) is not None:
            msg = f"{device} has stopped working: {fault}"
            self.emit(Note(msg))
            raise SystemExit(msg)


def prepare(
    result: ReadResult, runner: StageRunner, models: LoadedModels, *, stride: int = 1, pictures: Path | None = None
) -> StudyState:
    """Localise and crop one study; each failure leaves it with fewer views, down to none.

    Args:
        result: outcome of reading the study.
        runner: runs the stages.
        models: localisers.
        stride: levels are localised on every `stride`-th sagittal slice; above 1 the study counts as reduced.
        pictures: folder for a picture of the study, None for no picture.
    """
    recorder = runner.recorder
    study_id, study = result.files.study_id, result.study
    if study is None:
        recorder.note(study_id, "read", DicomError(result.error or "the reader gave no reason"))
        return StudyState(StudyReport(study_id=study_id, failures=recorder.failures(study_id)))
    if not study.series:
        recorder.note(study_id, "read", StudyError(nothing_usable(study)))
    state = StudyState(StudyReport(study_id=study_id), reduced=stride > 1)
    alignment, landmarks, axial = Alignment(study, doubtful=False), None, NO_AXIAL_LEVELS
    if study.series:
        call = partial(align_series, study)
        alignment = runner.run("align", [study_id], call, check=_require_finite_places) or alignment
        landmarks = _localise(alignment.study, runner, models, stride)
    aligned = alignment.study
    if landmarks is not None:
        landmarks = alignment.confidence_in(landmarks)
        state.row_weights = row_weights(landmarks)
        aligned = _with_axials(aligned, landmarks, runner)
        aligned, axial = _crop(aligned, landmarks, state, runner, models)
    report = study_report(aligned, axial, recorder.failures(study_id), landmarks=landmarks, moves=alignment.moves)
    if landmarks is not None and pictures is not None and not state.reduced:  # a reduced pass is short of time
        draw = partial(draw_study, aligned, landmarks, axial, state.crops, pictures, missing=report.missing)
        runner.run("pictures", [study_id], draw)
        report = replace(report, failures=recorder.failures(study_id))
    if state.reduced:
        reason = f"levels localised on one of every {stride} sagittal slices, for lack of time"
        report = replace(report, missing=(*report.missing, reason))
    state.report = report
    return state


def _require_finite_places(alignment: Alignment) -> None:
    """Raise NotFiniteError for a slice without a place; its pixels, which nothing changed, were checked on reading."""
    require_finite([item.plane for series in alignment.study.series for item in series.slices])


def _localise(study: Study, runner: StageRunner, models: LoadedModels, stride: int) -> Landmarks | None:
    """Landmarks, or None with a note: a study without visible levels is a finding, not a program error."""

    def call() -> Landmarks | None:
        try:
            return localise(every_nth_slice(study, stride), models.sagittal)
        except LocalisationError as error:
            runner.recorder.note(study.study_id, "localise", error)
            return None

    return runner.run("localise", [study.study_id], call, nets=models.sagittal, effort=1 / stride)


def _with_axials(study: Study, landmarks: Landmarks, runner: StageRunner) -> Study:
    """The study with axial slices reformatted from its volume, where it has one."""
    if study.volume is None:
        return study
    return runner.run("reformat", [study.study_id], lambda: with_reformatted_axials(study, landmarks)) or study


def _crop(
    study: Study, landmarks: Landmarks, state: StudyState, runner: StageRunner, models: LoadedModels
) -> tuple[Study, AxialLevels]:
    """Find the axial levels, cut the crops of all views into the state, and return these levels and their study."""
    ids = [study.study_id]
    found = runner.run("axial", ids, lambda: axial_levels(study, landmarks, models.axial), nets=models.axial)
    of_spine, axial = found or (study, NO_AXIAL_LEVELS)
    needed = models.manifest.views
    state.crops = runner.run("crop", ids, lambda: cut_crops(of_spine, landmarks, axial, views=needed)) or {}
    return of_spine, axial


def every_nth_slice(study: Study, stride: int) -> Study:
    """The study with every `stride`-th slice of its sagittal series, always including the middle one."""
    return replace(
        study,
        series=tuple(
            item
            if item.role == AXIAL_T2
            else replace(item, slices=item.slices[len(item.slices) // 2 % stride :: stride])
            for item in study.series
        ),
    )
