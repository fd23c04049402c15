"""What every step of a grading process has at hand, and the one way to do a step: timed, guarded and announced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.budget import Budget
from lumbar_kernel.crop import Crops
from lumbar_kernel.devices import CPU, fault_of
from lumbar_kernel.faults import through_faults
from lumbar_kernel.finite import require_finite
from lumbar_kernel.journal import Journal
from lumbar_kernel.messages import Message, Note, Share, Step
from lumbar_kernel.plan import Plan
from lumbar_kernel.report import Failure, Recorder, StudyReport
from lumbar_kernel.schema import ROWS
from lumbar_kernel.tools import Tools

T = TypeVar("T")


@dataclass(eq=False)
class Work:
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
class Desk:
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

    share: Share
    tools: Tools
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
                told = through_faults(name, studies, call)
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
        if device != CPU and (fault := fault_of(device)) is not None:
            msg = f"{device} has stopped working: {fault}"
            self.emit(Note(msg))
            raise SystemExit(msg)
