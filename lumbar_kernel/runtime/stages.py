"""What every step of a grading process has at hand, and the one way to do a step: timed, guarded and announced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.checks import require_finite
from lumbar_kernel.errors import DicomError, LocalisationError, StudyError
from lumbar_kernel.grading.crops import Crops, cut_crops
from lumbar_kernel.grading.ensemble import row_confidence
from lumbar_kernel.localisation.axial import AxialView, axial_views
from lumbar_kernel.localisation.landmarks import Landmarks, localise
from lumbar_kernel.models.checkpoints import LoadedModels
from lumbar_kernel.results.pictures import draw_study
from lumbar_kernel.results.report import Failure, StudyReport
from lumbar_kernel.results.study_report import nothing_usable, study_report
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.devices import CPU, device_fault
from lumbar_kernel.runtime.fault_injection import with_injected_faults
from lumbar_kernel.runtime.journal import Journal
from lumbar_kernel.runtime.messages import Message, Note, Shard, Step
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.scheduler import Plan
from lumbar_kernel.runtime.study_loader import ReadResult
from lumbar_kernel.schema import AXIAL_T2, LEVELS, ROWS
from lumbar_kernel.study import Study

T = TypeVar("T")


@dataclass(eq=False)
class StudyState:
    """One study between its crops and its last grade.

    Attributes:
        report: its part of the report so far.
        crops: by view.
        confidence: (25,) how far its rows are trusted for their place.
        thin: whether its levels were looked for on some of its slices only.
        said: member → its (25, 3) probabilities.
    """

    report: StudyReport
    crops: dict[str, Crops] = field(default_factory=dict)
    confidence: FloatArray = field(default_factory=lambda: np.zeros(len(ROWS)))
    thin: bool = False
    said: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def study_id(self) -> str:
        """As in the row ids."""
        return self.report.study_id


@dataclass(eq=False)
class StageRunner:
    """What every step of a grading process has at hand.

    Attributes:
        share: what is to be done.
        tools: the nets.
        recorder: takes failures and seconds.
        journal: takes finished work.
        budget: asked before every step that may be left out.
        plan: learns what steps take.
        emit: takes messages to the supervisor.
        dropped: stages left out for all studies, with the reason.
    """

    share: Shard
    tools: LoadedModels
    recorder: Recorder
    journal: Journal
    budget: Budget
    plan: Plan
    emit: Callable[[Message], None]
    dropped: dict[str, str] = field(default_factory=dict)
    _on_cpu: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.dropped |= {stage: item.message for (study, stage), item in self.share.given_up.items() if study is None}

    def step(
        self,
        stage: str,
        studies: Sequence[str],
        call: Callable[[], T],
        *,
        nets: Sequence[nn.Module] = (),
        check: Callable[[T], None] = require_finite,
        effort: float = 1.0,
    ) -> T | None:
        """Do one stage of some studies.

        Args:
            stage: as in the report.
            studies: ids; an error is that of the study where it is one.
            call: does the work.
            nets: that it uses; they move to the processor where the accelerator has no room for them.
            check: raises for a result that must not be used.
            effort: share of the usual work that is to be done.

        Returns:
            What the call returned, None when it failed, which is on record then.
        """
        alone = studies[0] if len(studies) == 1 else None
        known = self._given_up(stage, alone)
        if known is not None:
            self.recorder.add(alone, known)
            return None
        name = f"{stage} on {CPU}" if stage in self._on_cpu else stage
        self.emit(Step(stage, tuple(studies), self.recorder.stages))
        began, result, fine = self.budget.elapsed(), None, False
        try:
            with self.recorder.timed(name), self.recorder.guard(alone, name, passing=(torch.cuda.OutOfMemoryError,)):
                told = with_injected_faults(name, studies, call)
                check(told)
                result, fine = told, True
        except torch.cuda.OutOfMemoryError as error:
            reason = " ".join(str(error).split())
        else:
            if not fine:
                self._require_device()
            self.plan.learn(stage, self.budget.elapsed() - began, studies=effort * max(1, len(studies)))
            return result
        if self._make_room(stage, nets, reason):
            return self.step(stage, studies, call, nets=nets, check=check, effort=effort)
        return None

    def _given_up(self, stage: str, study_id: str | None) -> Failure | None:
        """Why a stage is not to be tried, for this study or for all."""
        if stage in self.dropped:
            return Failure(stage, "Dropped", self.dropped[stage])
        return self.share.given_up.get((study_id, stage)) if study_id else None

    def _make_room(self, stage: str, nets: Sequence[nn.Module], reason: str) -> bool:
        """Move a stage's nets to the processor if time allows, else leave the stage out from now on."""
        can_move = bool(nets) and stage not in self._on_cpu
        if can_move and self.plan.fits_on_cpu(stage, studies=len(self.share.studies)):
            self._on_cpu.add(stage)
            for net in nets:
                net.to(CPU)
            self.recorder.add(None, Failure(stage, "OutOfMemoryError", f"goes on on the processor: {reason}"))
            return True
        self.dropped[stage] = f"no memory: {reason}"
        self.recorder.add(None, Failure(stage, "OutOfMemoryError", f"left out from here on: {reason}"))
        return False

    def _require_device(self) -> None:
        """After an error: end this process if its accelerator no longer works, so that another device takes over."""
        device = str(self.tools.device)
        if device != CPU and (fault := device_fault(device)) is not None:
            msg = f"{device} has stopped working: {fault}"
            self.emit(Note(msg))
            raise SystemExit(msg)


def prepare(result: ReadResult, desk: StageRunner, *, stride: int = 1, pictures: Path | None = None) -> StudyState:
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


def _cropped(result: ReadResult, desk: StageRunner, *, stride: int, pictures: Path | None) -> StudyState:
    recorder, tools = desk.recorder, desk.tools
    study_id, study = result.files.study_id, result.study
    if study is None:
        recorder.note(study_id, "read", DicomError(result.error or "the reader gave no reason"))
        return StudyState(StudyReport(study_id=study_id, failures=recorder.failures(study_id)))
    if not study.series:
        recorder.note(study_id, "read", StudyError(nothing_usable(study)))
    landmarks: Landmarks | None = None
    views: tuple[AxialView | None, ...] = (None,) * len(LEVELS)
    work = StudyState(study_report(study, (), recorder.failures(study_id)), thin=stride > 1)
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


def _located(study: Study, desk: StageRunner, stride: int) -> Landmarks | None:
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
