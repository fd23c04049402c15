"""One shard in a worker: read → localise → crop → grade → combine, study by study, then member by member."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from lumbar_kernel.config import Config
from lumbar_kernel.models.checkpoints import LoadedModels, load_models
from lumbar_kernel.models.manifest import WAITING, MemberSpec
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.fault_injection import with_injected_faults
from lumbar_kernel.runtime.journal import Journal, run_key
from lumbar_kernel.runtime.member_grading import MemberGrading
from lumbar_kernel.runtime.messages import LOADING, Done, Message, Note, Ready, Shard, Step
from lumbar_kernel.runtime.process_settings import collection_paused
from lumbar_kernel.runtime.reader_process import ReadResult
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.scheduler import (
    REDUCED_STRIDE,
    FirstPass,
    FirstPassOptions,
    Scheduler,
    fastest_members,
    first_members,
)
from lumbar_kernel.runtime.sharding import studies_at_once
from lumbar_kernel.runtime.stages import StageRunner, StudyState, prepare
from lumbar_kernel.runtime.study_loader import StudyLoader
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

Loaded = tuple[LoadedModels, dict[str, str]]
"""Networks, and each member that could not be loaded with the reason."""


def load(config: Config, device: str, *, recorder: Recorder) -> Loaded:
    """The networks of a run on a device; raises WeightsError."""
    with recorder.timed(LOADING), collection_paused():
        return with_injected_faults(LOADING, (), lambda: load_models(config.weights, device, strict=config.strict))


def run(
    config: Config,
    shard: Shard,
    *,
    recorder: Recorder,
    budget: Budget,
    emit: Callable[[Message], None],
    loader: StudyLoader | None = None,
    loaded: Loaded | None = None,
) -> Done:
    """Grade the studies of a shard, emit every improvement, and return the closing message.

    Args:
        config: options of the run.
        shard: the studies, in the order in which they are graded, and the device.
        recorder: collects failures and seconds.
        budget: asked before every step.
        emit: takes messages; the receiver owns the file.
        loader: that may have begun to read the studies, None to make one.
        loaded: networks on the processor, None to load them.

    Raises:
        WeightsError: no localiser can be loaded, so nothing can be graded.
    """
    emit(Step(LOADING, (), {}))
    models, failed = loaded or load(config, shard.device, recorder=recorder)
    models = models.on(shard.device)
    emit(Ready(device=str(models.device), weights_sha256=models.manifest.sha256, members_failed=failed))
    return grade_with(models, config, shard, recorder=recorder, budget=budget, emit=emit, loader=loader)


def grade_with(
    models: LoadedModels,
    config: Config,
    shard: Shard,
    *,
    recorder: Recorder,
    budget: Budget,
    emit: Callable[[Message], None],
    loader: StudyLoader | None = None,
) -> Done:
    """Grade a shard as `run` does, with networks that are loaded already."""
    key = run_key(shard.studies, weights_sha256=models.manifest.sha256)
    with Journal(config.journal_of(shard.number), key=key, resume=config.resume or shard.resume) as journal:
        grading = GradingRun(config, shard, models, recorder, journal, budget, emit, loader)
        finished, complete = grading.grade_everything()
    return Done(recorder=recorder, members=finished, members_failed=grading.members_dropped, complete=complete)


@dataclass(eq=False)
class GradingRun:
    """The passes over the studies of one shard.

    Attributes:
        config: options of the run.
        shard: the studies and the device.
        models: loaded networks.
        recorder: collects failures and seconds.
        journal: records finished work on disk.
        budget: asked before every step that can be skipped.
        emit: sends messages to the supervisor.
        loader: that may have begun to read the studies of the shard.
        scheduler: expects and learns what steps cost.
        stages: runs every stage.
        grading: lets members grade studies.
    """

    config: Config
    shard: Shard
    models: LoadedModels
    recorder: Recorder
    journal: Journal
    budget: Budget
    emit: Callable[[Message], None]
    loader: StudyLoader | None
    scheduler: Scheduler = field(init=False)
    stages: StageRunner = field(init=False)
    grading: MemberGrading = field(init=False)
    _warned_of_shortage: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.models.manifest, self.budget)
        self.stages = StageRunner(self.shard, self.recorder, self.budget, self.scheduler, self.emit)
        self.grading = MemberGrading(self.models, self.journal, self.stages)

    @property
    def block(self) -> int:
        """How many studies are graded together."""
        return studies_at_once(self.shard.device)

    @property
    def members(self) -> tuple[MemberSpec, ...]:
        """The members that could be loaded, in the manifest's order."""
        return self.grading.members

    @property
    def members_dropped(self) -> dict[str, str]:
        """Members that were dropped on the way, with the reason."""
        dropped = self.stages.dropped
        return {spec.name: dropped[spec.stage] for spec in self.members if spec.stage in dropped}

    def grade_everything(self) -> tuple[tuple[str, ...], bool]:
        """All members study by study while time is ample, so that no crops have to be kept; else in passes.

        The passes: a first one over all studies, then the members by gain per second, then the reduced studies in full.

        Returns:
            The members that graded every study they could, and whether everything was done.
        """
        remaining = self._restore()
        everything, full = FirstPass(self.members), FirstPass(first_members(self.members))
        reduced = FirstPass(fastest_members(full.members, self.members), REDUCED_STRIDE)
        states = self._first_pass(remaining, FirstPassOptions(full, reduced, everything))
        finished = self._further_passes(states)
        reduced_ids = {state.study_id for state in states if state.reduced}
        redone = self._first_pass(
            [files for files in remaining if files.study_id in reduced_ids],
            FirstPassOptions(everything, everything, everything, phase="second pass"),
        )
        all_studies = len(states) == len(remaining)
        complete = all_studies and len(finished) == len(self.members) and len(redone) == len(reduced_ids)
        return tuple(spec.name for spec in self.members if spec in finished and all_studies), complete

    def _restore(self) -> list[StudyFiles]:
        """Emit the studies that the journal holds completely, and return the others.

        Only whole blocks are skipped, so that the other studies share their batches with the same companions as in a
        run without the interruption, and get the same grades to the last bit.
        """
        remaining: list[StudyFiles] = []
        for start in range(0, len(self.shard.studies), self.block):
            block = self.shard.studies[start : start + self.block]
            states = [state for files in block if (state := self.grading.recorded(files.study_id)) is not None]
            if len(states) < len(block):
                remaining += block
                continue
            for state in states:
                self.emit(self.grading.update(state))
        return remaining

    def _first_pass(self, studies: Sequence[StudyFiles], options: FirstPassOptions) -> list[StudyState]:
        """Read, localise, crop and grade a few studies at a time: by all members while time is ample, else in full.

        Where not even that fits for all of them, it is reduced.

        Studies that an interrupted run had begun get all members at once, if a full first pass of the others still
        fits: their crops are not on disk, and another interruption would have them cut a third time.
        """
        states: list[StudyState] = []
        begun = {files.study_id for files in studies if self.journal.study(files.study_id) is not None}
        with self._loader_of(studies) as loader:
            results = iter(loader)
            while left := len(studies) - len(states):
                first_pass = self._choose(options, left=left)
                seconds = self.scheduler.first_pass_seconds(first_pass)
                count = self.scheduler.affordable_studies(seconds, most=min(left, self.block))
                if count == 0:
                    self._warn(f"time for {len(states)} of {len(studies)} studies")
                    break
                others, done = [spec for spec in self.members if spec not in first_pass.members], len(states)
                self.emit(
                    self.scheduler.progress(self.shard.number, options.phase, done, len(studies), seconds, others)
                )
                block = self._grade_next(results, count, first_pass, options, done=done)
                if not block:
                    break
                states += block
                self._finish_begun(block, begun, options, later=left - len(block))
        return states

    def _choose(self, options: FirstPassOptions, *, left: int) -> FirstPass:
        """The pass that the time allows for so many studies, with a warning when it is reduced for the first time."""
        chosen = self.scheduler.choose(options, studies=left)
        if chosen is options.reduced and chosen is not options.full and not self._warned_of_shortage:
            self._warn(self.scheduler.shortage(options.full, options.reduced, studies=left))
            self._warned_of_shortage = True
        return chosen

    def _grade_next(
        self,
        results: Iterator[ReadResult],
        count: int,
        first_pass: FirstPass,
        options: FirstPassOptions,
        *,
        done: int,
    ) -> list[StudyState]:
        """Prepare and grade the next `count` studies after the `done` first; none when the loader has no more.

        Where all members grade at once, the fastest of each view grade the first study of all before the next one is
        prepared: something to show, and to write.
        """
        stride = first_pass.stride
        if done or first_pass is not options.everything:
            block = self._prepare_block(results, count, stride=stride, done=done)
        elif block := self._prepare_block(results, 1, stride=stride, done=0):
            self._grade_block(options.reduced.members, block, size=count)
            block += self._prepare_block(results, count - 1, stride=stride, done=1)
        if block:
            self._grade_block(first_pass.members, block)
        return block

    def _finish_begun(
        self, block: Sequence[StudyState], begun: Collection[str], options: FirstPassOptions, *, later: int
    ) -> None:
        """Let all members grade a block with studies that an interrupted run had begun, where the others still fit."""
        everyone = options.everything.members
        resuming = any(state.study_id in begun for state in block)
        if resuming and self.scheduler.members_fit(everyone, studies=len(block), full=options.full, later=later):
            self._grade_block(everyone, block)

    def _loader_of(self, studies: Sequence[StudyFiles]) -> StudyLoader:
        """The loader that began with the process if it reads these studies, else a new one."""
        begun, self.loader = self.loader, None
        if begun is not None and begun.studies == tuple(studies):
            return begun
        return StudyLoader.of(self.config, studies)

    def _prepare_block(self, results: Iterator[ReadResult], count: int, *, stride: int, done: int) -> list[StudyState]:
        """The next `count` studies after the `done` first, localised and cropped; none when the loader has no more."""
        block: list[StudyState] = []
        while len(block) < count:
            # The first wait is for the loader to start, from which there is nothing to learn.
            result = self.stages.run(
                WAITING, (), lambda: next(results, None), effort=int(done + len(block) > 0), check=_trusted
            )
            if result is None:
                break
            drawn = result.files.study_id in self.shard.drawn
            pictures = self.config.pictures_path if drawn else None
            state = prepare(result, self.stages, self.models, stride=stride, pictures=pictures)
            read = result.study is not None and bool(result.study.series)  # else a resumed run tries it again
            if read and not state.reduced:
                self.journal.add_study(state.report, state.row_weights, state.crops)
            block.append(state)
        return block

    def _grade_block(self, members: Sequence[MemberSpec], block: Sequence[StudyState], *, size: int = 0) -> None:
        """Let members grade a few studies, and emit them; `size` as in `MemberGrading.grade`."""
        for spec in members:
            self.grading.grade(spec, block, size=size)
        for state in block:
            self.emit(self.grading.update(state))
            if not any(state.lacks(spec) for spec in self.members):
                state.crops = {}  # memory stays the same however many studies there are

    def _further_passes(self, states: Sequence[StudyState]) -> list[MemberSpec]:
        """One pass of each member over the studies it has not graded; returns the members that completed theirs."""
        waiting, finished = list(self.members), []
        while waiting:
            spec = self.scheduler.next_member(waiting)
            waiting.remove(spec)
            if self._member_pass(spec, states, later=waiting):
                finished.append(spec)
        return finished

    def _member_pass(self, spec: MemberSpec, states: Sequence[StudyState], *, later: Sequence[MemberSpec]) -> bool:
        """Let a member grade the studies that it has not graded; returns whether it graded all of them."""
        seconds = self.scheduler.member_seconds(spec)
        for start in range(0, len(states), self.block):
            block = states[start : start + self.block]
            if not any(state.lacks(spec) for state in block):
                continue
            self.emit(self.scheduler.progress(self.shard.number, spec.name, start, len(states), seconds, later))
            if not self.budget.fits(seconds * len(block)):
                return False
            self._grade_block((spec,), block)
        return not any(state.lacks(spec) for state in states)

    def _warn(self, text: str) -> None:
        logger.warning(text)
        self.emit(Note(text))


def _trusted(_: object) -> None:
    """No check of a study that was read: its reader has checked every pixel."""
