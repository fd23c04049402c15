"""What a worker does: load networks or get them, grade its shard, send messages to the supervisor.

What takes long to import, torch and pydicom, is imported where it is needed: the supervisor names these functions to
the server that loads the networks, and starts that first of all.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from lumbar_kernel.config import Config
from lumbar_kernel.errors import KernelError
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.devices import CPU
from lumbar_kernel.runtime.messages import Done, Message, Shard
from lumbar_kernel.runtime.process_settings import collection_paused, die_with_parent, one_thread, prepare_grading
from lumbar_kernel.runtime.recorder import Recorder

if TYPE_CHECKING:
    from lumbar_kernel.runtime.pipeline import Loaded
    from lumbar_kernel.runtime.reader_process import ReaderProcess
    from lumbar_kernel.runtime.study_loader import StudyLoader


def networks_to_share(config: Config) -> tuple[Recorder, Loaded | None]:
    """What workers share: the networks on the processor, None where each has to find out why they cannot be loaded."""
    recorder, outer, loaded = Recorder(strict=config.strict), Recorder(), None
    with suppress(KernelError), outer.guard(None, "load networks", passing=(KernelError,)):  # the workers report these
        with recorder.timed("import packages"):
            from lumbar_kernel.runtime.pipeline import load
        with one_thread():
            loaded = load(config, CPU, recorder=recorder)
    return recorder, loaded


def grade_shard(
    config: Config,
    shard: Shard,
    budget: Budget,
    emit: Callable[[Message], None],
    *,
    recorder: Recorder | None = None,
    loaded: Loaded | None = None,
    spare: list[ReaderProcess] | None = None,
) -> Done:
    """Grade a shard in this process; the closing message also records an error that ended the pipeline.

    Args:
        config: options of the run.
        shard: studies and device.
        budget: asked before every step.
        emit: takes messages.
        recorder: with seconds that were spent before, None for a new one.
        loaded: networks on the processor, None to load them.
        spare: readers that wait for studies.
    """
    recorder = recorder or Recorder(strict=config.strict)

    def grade(loader: StudyLoader) -> Done:
        with recorder.timed("import packages"), collection_paused():
            from lumbar_kernel.runtime.pipeline import run  # brings torch
        with one_thread():
            return run(config, shard, recorder=recorder, budget=budget, emit=emit, loader=loader, loaded=loaded)

    return with_loader(config, shard, grade, recorder=recorder, spare=spare)


def with_loader(
    config: Config,
    shard: Shard,
    grade: Callable[..., Done],
    *,
    recorder: Recorder,
    spare: list[ReaderProcess] | None,
) -> Done:
    """Grade a shard with a loader of its studies; an error that ends that is recorded.

    Args:
        config: options of the run.
        shard: studies.
        grade: grades them, given the `loader`.
        recorder: gets the error.
        spare: readers that wait for studies.
    """
    from lumbar_kernel.runtime.study_loader import StudyLoader  # brings pydicom

    outer, done = Recorder(), Done(recorder=recorder)
    with outer.guard(None, "grading"), StudyLoader.of(config, shard.studies, spare=spare) as loader:
        if not (config.resume or shard.resume):  # else the journal decides first which studies are left
            loader.start()
        done = grade(loader=loader)
    for failure in outer.failures(None):
        recorder.add(None, recorder.fatal or failure)
    return done


def worker_process(
    config: Config, shard: Shard, budget: Budget, sender: Connection, shared: tuple[Recorder, Loaded | None] | None
) -> None:
    """Entry of a worker: sends its messages through the pipe; an error that ends it is sent as well.

    Args:
        config: options of the run.
        shard: studies and device.
        budget: what is left of the time.
        sender: end of the pipe.
        shared: what `networks_to_share` gave a worker that was forked, None for one that was started by itself.
    """
    os.setpgid(0, 0)  # so that the supervisor can kill it together with its readers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches the supervisor, which stops this process
    signal.signal(signal.SIGTERM, _exit)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    if shared is None:
        sender.send(grade_shard(config, shard, budget, sender.send))
        return
    from lumbar_kernel.runtime.reader_process import forked_readers  # brings pydicom

    recorder, loaded = shared
    spare = forked_readers(min(config.readers, len(shard.studies)), foreign=(sender,))
    first = recorder if shard.number == 0 else None  # what was spent for all counts once
    sender.send(grade_shard(config, shard, budget, sender.send, recorder=first, loaded=loaded, spare=spare))


def run_alone(
    entry: Callable[..., None], config: Config, shard: Shard, seconds: float | None, sender: Connection
) -> None:
    """Entry of a worker that no server forks; `entry` and what it takes as in `fork_server.Fork`."""
    die_with_parent()
    prepare_grading()
    entry(config, shard, Budget(seconds, reserve=config.reserve), sender, None)


def _exit(*_: object) -> None:
    """Exit through the context managers, which free shared memory."""
    sys.exit(0)
