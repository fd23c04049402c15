"""A worker that keeps its networks and grades shard after shard, watched and replaced as the workers of a run are.

For runs that are too long for one process per shard: an engine such as Ray distributes the shards, and each of its
processes keeps one of these.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from lumbar_kernel.config import STUDY_SECONDS, Config
from lumbar_kernel.errors import WorkerStartError
from lumbar_kernel.models.manifest import WAITING
from lumbar_kernel.processes import KILLED_SECONDS, spawn_context
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import LOADING, Done, Message, Ready, Shard, Step, Update
from lumbar_kernel.runtime.process_settings import collection_paused, die_with_parent, one_thread, prepare_grading
from lumbar_kernel.runtime.reader_process import ReaderProcess
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.supervision import START_SECONDS, STARTING, end_with_readers, only_study, rest_of
from lumbar_kernel.runtime.temporary_folder import new_place, temporary_folder
from lumbar_kernel.runtime.worker_process import with_loader
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

MAX_LOST = 3
"""A study that has ended so many workers in one stage is graded without that stage; so often may a worker fail to
start."""

Entry = Callable[[Config, str, Connection], None]


@dataclass(eq=False)
class ShardOutcome:
    """What became of the studies of a shard.

    Attributes:
        updates: study id → its last grades; a study that is absent could not be graded at all.
        seconds: study id → seconds that its stages took, without waiting for the reader.
        failures: that belong to no single study.
        lost: study id → why its last worker ended, where that happened.
        ready: device, weights and members of the worker.
        finished: when, in seconds since 1970.
    """

    updates: dict[str, Update] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    lost: dict[str, Failure] = field(default_factory=dict)
    ready: Ready | None = None
    finished: float = 0.0


class PersistentWorker:
    """A process with loaded networks that grades one shard after another.

    Args:
        weights: folder with `manifest.json`, None for the package's own.
        device: that grades.
        study_seconds: limit of a reader for one study, and of a stage.
        clock: seconds that never run backwards.
        entry: what the process runs.
    """

    def __init__(
        self,
        *,
        weights: Path | None,
        device: str,
        study_seconds: float = STUDY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        entry: Entry | None = None,
    ) -> None:
        self.device = device
        journal_folder = new_place()
        self._config = Config(
            data=journal_folder.parent,
            output=journal_folder,
            weights=weights,
            device="auto",
            workers=1,
            study_seconds=study_seconds,
        )
        self._clock, self._entry = clock, entry or persistent_worker_process
        self._running: tuple[BaseProcess, Connection] | None = None
        self._ready: Ready | None = None

    def grade(self, studies: Sequence[StudyFiles]) -> ShardOutcome:
        """Grade studies; one that ends its worker is tried again, the others continue from the journal.

        Raises:
            WorkerStartError: no worker could be started.
        """
        outcome, shard = ShardOutcome(), Shard(0, tuple(studies), self.device)
        lost: Counter[tuple[str | None, str]] = Counter()
        with temporary_folder(self._config.output):  # of each shard: an idle worker keeps nothing of patients
            while (found := self._attempt(shard, outcome)) is not None:
                step, failure = found
                self.stop()
                shard = self._after_loss(shard, step, failure, lost, outcome)
        outcome.ready, outcome.finished = self._ready, time.time()
        return outcome

    def stop(self) -> None:
        """End the process with its readers; the next shard starts another one."""
        if self._running is not None:
            process, pipe = self._running
            self._running = None
            end_with_readers(process)
            pipe.close()

    def _attempt(self, shard: Shard, outcome: ShardOutcome) -> tuple[Step, Failure] | None:
        """Let the worker grade a shard; returns where and how it was lost, None when it finished."""
        began = self._clock()
        process, pipe = self._running or self._start()
        step = Step(LOADING if self._ready else STARTING, (), {})
        try:
            pipe.send(shard)
            while True:
                if not pipe.poll(self._patience(step)):
                    text = f"no end after {self._clock() - began:.0f} s, the process was stopped"
                    return step, Failure(step.stage, "ProcessHung", text)
                message: Message = pipe.recv()
                now = self._clock()
                _add_seconds(outcome, step, now - began)
                began = now
                if isinstance(message, Step):
                    step = message
                elif isinstance(message, Ready):
                    self._ready = message
                elif isinstance(message, Update):
                    outcome.updates[message.report.study_id] = message
                elif isinstance(message, Done):
                    outcome.failures += message.recorder.failures(None)
                    return None
        except (EOFError, OSError):
            process.join(KILLED_SECONDS)
            text = f"the process ended with exit code {process.exitcode}"
            return step, Failure(step.stage, "ProcessDied", text)

    def _patience(self, step: Step) -> float | None:
        """Seconds that the present stage may take; readers have limits of their own."""
        if step.stage == WAITING:
            return None
        limit = self._config.study_seconds
        return max(limit, START_SECONDS) if step.stage in (STARTING, LOADING) else limit

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = spawn_context()
        pipe, remote_end = context.Pipe()
        process = context.Process(target=self._entry, args=(self._config, self.device, remote_end))
        process.start()
        remote_end.close()
        self._running, self._ready = (process, pipe), None
        return self._running

    def _after_loss(
        self,
        shard: Shard,
        step: Step,
        failure: Failure,
        lost: Counter[tuple[str | None, str]],
        outcome: ShardOutcome,
    ) -> Shard:
        """The shard as the next worker gets it: studies one at a time, what ended workers too often left out.

        A process that hung is not tried again, since it would hang for as long once more.
        """
        logger.warning("%s: %s", step.stage, failure.message)
        study = only_study(step)
        lost[study, step.stage] += 1
        times = lost[study, step.stage]
        if not step.studies and times >= MAX_LOST:
            msg = f"{times} workers in turn were lost in stage {step.stage!r} on {self.device}: {failure.message}"
            raise WorkerStartError(msg)
        if study is None:
            return rest_of(shard, without={})
        text = f"{failure.message}, {times} times in all" if times > 1 else failure.message
        outcome.lost[study] = Failure(step.stage, failure.type, text)
        last = times >= MAX_LOST or failure.type == "ProcessHung"
        return rest_of(shard, without={(study, step.stage): outcome.lost[study]} if last else {})


def _add_seconds(outcome: ShardOutcome, step: Step, seconds: float) -> None:
    if step.stage != WAITING:
        for study_id in step.studies:
            outcome.seconds[study_id] = outcome.seconds.get(study_id, 0.0) + seconds / len(step.studies)


def persistent_worker_process(config: Config, device: str, pipe: Connection) -> None:
    """Entry of a persistent worker: load the networks, then grade the shards that come through the pipe."""
    os.setpgid(0, 0)  # so that it can be killed together with its readers
    die_with_parent()
    prepare_grading()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    logging.disable(logging.CRITICAL)  # messages may quote headers; failures travel with the results
    with collection_paused():
        from lumbar_kernel.models.checkpoints import load_models  # brings torch, as does the next one
        from lumbar_kernel.runtime.pipeline import grade_with

    spare: list[ReaderProcess] = []
    with one_thread():
        shard: Shard = pipe.recv()
        pipe.send(Step(LOADING, (), {}))
        with collection_paused():
            models, failed = load_models(config.weights, device)
        pipe.send(Ready(str(models.device), models.manifest.sha256, failed))
        while True:
            models.return_to_device()  # where the shard before lacked memory, another process may have freed it
            recorder, budget = Recorder(), Budget(None, reserve=0.0)
            grade = partial(grade_with, models, config, shard, recorder=recorder, budget=budget, emit=pipe.send)
            pipe.send(with_loader(config, shard, grade, recorder=recorder, spare=spare))
            try:
                shard = pipe.recv()
            except EOFError:
                return
