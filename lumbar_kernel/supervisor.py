"""`predict`: the process that owns clock and file, and can finish the file whatever the grading process does."""

from __future__ import annotations

import ctypes
import logging
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import numpy as np
from tqdm import tqdm

from lumbar_kernel import __version__
from lumbar_kernel.budget import Budget
from lumbar_kernel.config import Config
from lumbar_kernel.errors import ConfigError, KernelError, SubmissionError
from lumbar_kernel.folders import StudyFiles, find_studies, sample_studies
from lumbar_kernel.messages import Done, Message, Ready, Update
from lumbar_kernel.metric import load_submission
from lumbar_kernel.report import EXIT_DEGRADED, EXIT_GRADED, Failure, Recorder, Report, StudyReport
from lumbar_kernel.schema import ROWS, prior, row_ids
from lumbar_kernel.submission import FloatArray, write_submission

logger = logging.getLogger(__name__)

PUBLISH_EVERY_SECONDS = 5.0
"""How long new grades may wait for the file."""

PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl: the signal that a process gets when its parent dies."""

POLL_SECONDS = 0.5
STOP_SECONDS = 3.0


@dataclass(eq=False)
class _State:
    """What the grading process has told so far."""

    grades: dict[str, FloatArray]
    reports: dict[str, StudyReport]
    ready: Ready | None = None
    done: Done | None = None
    failures: list[Failure] = field(default_factory=list)
    dirty: bool = False

    def take(self, message: Message) -> None:
        """Learn from one message."""
        if isinstance(message, Update):
            self.grades[message.report.study_id] = message.grades
            self.reports[message.report.study_id] = message.report
            self.dirty = True
        elif isinstance(message, Ready):
            self.ready = message
        else:
            self.done = message


def predict(config: Config, *, clock: Callable[[], float] = time.monotonic, started: float | None = None) -> Report:
    """Grade every study in a folder and keep a valid `submission.csv` on disk from the first moment on.

    Args:
        config: paths and options.
        clock: seconds that never run backwards.
        started: reading of the clock at which the budget began, now when None.

    Returns:
        The report, which also lies beside the submission as `report.json`.

    Raises:
        ConfigError: nothing can be graded: a path is wrong, or there is no study in the folder.
        KernelError: the run was strict and met an unexpected exception; what was graded by then is on disk.
    """
    budget = Budget(config.seconds, reserve=config.reserve, clock=clock, started=started)
    studies = find_studies(config.data, split=config.split)
    if not studies:
        msg = f"no study found in {str(config.data)!r}; it must hold DICOM files or {config.split}_images/"
        raise ConfigError(msg)
    state = _State(
        grades=_first_grades(config, submission_order(config, studies)),
        reports={item.study_id: StudyReport(study_id=item.study_id) for item in studies},
    )
    config.output.mkdir(parents=True, exist_ok=True)
    write_submission(state.grades, config.submission_path)
    logger.info("a first submission of %d studies is on disk", len(studies))
    if config.workers == 0:
        _run_here(config, studies, state, budget)
    elif not budget.expired():
        _run_beside(config, studies, state, budget)
    write_submission(state.grades, config.submission_path)
    report = _report(config, state, budget)
    report.write(config.report_path)
    if config.strict and report.failures:
        first = report.failures[0]
        msg = f"strict run stopped in {first.stage}: {first.type}: {first.message}"
        raise KernelError(msg)
    return report


def _first_grades(config: Config, study_ids: Sequence[str]) -> dict[str, FloatArray]:
    """What is on disk from the first second: the prior, or in a resumed run what the interrupted one had reached."""
    grades = {study_id: prior() for study_id in study_ids}
    if config.resume and config.submission_path.is_file():
        try:
            told = load_submission(config.submission_path)
        except (SubmissionError, ValueError, OSError) as error:
            logger.warning("%s cannot be taken over: %s", config.submission_path, error)
            return grades
        for study_id in study_ids:
            if all(row in told for row in row_ids(study_id)):
                grades[study_id] = np.array([told[row] for row in row_ids(study_id)])
    return grades


def submission_order(config: Config, studies: Sequence[StudyFiles]) -> list[str]:
    """Study ids as the sample submission orders them, then the others in the order found."""
    found = [item.study_id for item in studies]
    if config.split != "test":
        return found
    known = set(found)
    order = [study_id for study_id in sample_studies(config.data) if study_id in known]
    return list(dict.fromkeys([*order, *found]))


def _run_here(config: Config, studies: Sequence[StudyFiles], state: _State, budget: Budget) -> None:
    """Grade in this process: slower to start and without protection, but a debugger can follow."""
    state.take(_graded(config, studies, budget, state.take))


def _graded(config: Config, studies: Sequence[StudyFiles], budget: Budget, emit: Callable[[Message], None]) -> Done:
    """The pipeline's account; an error that ends it as a whole is in the account."""
    from lumbar_kernel.pipeline import run  # brings torch

    recorder = Recorder()
    done = Done(recorder=recorder, members=(), complete=False)
    with recorder.guard(None, "grading"):
        done = run(config, studies, budget=budget, emit=emit)
    return done


def _run_beside(config: Config, studies: Sequence[StudyFiles], state: _State, budget: Budget) -> None:
    """Grade in a process of its own and publish what it tells, until it is done, dead or out of time."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    seconds = None if config.seconds is None else budget.margin()
    process = context.Process(target=_grading_process, args=(config, tuple(studies), seconds, sender))
    process.start()
    sender.close()
    published = budget.elapsed()
    with tqdm(total=len(studies), unit="study", disable=not config.progress) as bar, receiver:
        try:
            while state.done is None and budget.margin() > config.reserve / 2:
                wait = min(POLL_SECONDS, budget.margin() if math.isfinite(budget.margin()) else POLL_SECONDS)
                if receiver.poll(max(wait, 0.01)):
                    state.take(receiver.recv())
                    bar.update(sum(bool(item.members or item.failures) for item in state.reports.values()) - bar.n)
                if state.dirty and budget.elapsed() - published > PUBLISH_EVERY_SECONDS:
                    write_submission(state.grades, config.submission_path)
                    state.dirty, published = False, budget.elapsed()
        except EOFError:
            process.join(STOP_SECONDS)
            text = f"the grading process ended with exit code {process.exitcode}"
            state.failures.append(Failure("grading", "ProcessDied", text))
        finally:
            write_submission(state.grades, config.submission_path)
            _stop(process, politely=state.done is not None)


def _grading_process(config: Config, studies: Sequence[StudyFiles], seconds: float | None, sender: Connection) -> None:
    """Entry of the grading process: tells its messages through the pipe; an error ends it and is told as well."""
    os.setpgid(0, 0)  # so that the supervisor can end it together with its readers
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches the supervisor, which ends this process
    signal.signal(signal.SIGTERM, _leave)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    sender.send(_graded(config, studies, Budget(seconds, reserve=config.reserve), sender.send))


def _die_with_parent() -> None:
    """Ask Linux to kill this process as soon as the supervisor is gone, so that a restart does not meet it at work.

    Elsewhere the broken pipe ends it at its next message.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave(*_: object) -> None:
    """End the process through its context managers, which give shared memory back."""
    sys.exit(0)


def _stop(process: BaseProcess, *, politely: bool) -> None:
    """End the grading process with its readers; one that is not done is asked to leave, then forced."""
    if politely:
        process.join(STOP_SECONDS)
    if process.is_alive():
        process.terminate()
        process.join(STOP_SECONDS)
    if process.is_alive() and process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join(STOP_SECONDS)


def _report(config: Config, state: _State, budget: Budget) -> Report:
    """The record of the run, with the exit code that follows from it."""
    studies = tuple(state.reports[study_id] for study_id in state.grades)
    done, ready = state.done, state.ready
    failures = (*state.failures, *(done.recorder.failures(None) if done else ()))
    failed = dict(ready.members_failed) if ready else {}
    whole = all(item.graded_rows == len(ROWS) and not item.failures for item in studies)
    graded = whole and done is not None and done.complete and not failures and not failed
    return Report(
        version=__version__,
        weights_sha256=ready.weights_sha256 if ready else "",
        device=ready.device if ready else "none",
        studies=studies,
        stages={name: round(value, 3) for name, value in done.recorder.stages.items()} if done else {},
        members=done.members if done else (),
        members_failed=failed,
        failures=failures,
        seconds=budget.elapsed(),
        budget_seconds=config.seconds,
        margin_seconds=None if config.seconds is None else budget.margin(),
        exit_code=EXIT_GRADED if graded else EXIT_DEGRADED,
    )
