"""The task that grades one shard, in a process of Ray that keeps its worker and networks for the next one."""

from __future__ import annotations

import atexit
import logging
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lumbar_kernel.archive.remote_files import local_files
from lumbar_kernel.archive.result_schema import FAILED
from lumbar_kernel.archive.results import ResultSet, Row
from lumbar_kernel.archive.shards import Shard, read_shard
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.errors import OvertakenError, WorkerStartError
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.persistent_worker import PersistentWorker, ShardOutcome

RUN_FILE = "run.json"
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Work:
    """What all shards of a run have in common.

    Attributes:
        run: names the run, so that one that was given up cannot write any more.
        index: folder of the index.
        root: folder of the archive.
        results: where results go.
        weights: folder with `manifest.json`, None for the package's own.
        device: that grades, "cuda" for the one that Ray lends.
        study_seconds: limit for one study in a reader or stage.
    """

    run: str
    index: Folder
    root: Folder
    results: ResultSet
    weights: Path | None
    device: str
    study_seconds: float


@dataclass(frozen=True)
class Tally:
    """What became of a shard, in numbers: studies, and those that failed by reason."""

    studies: int
    failed: Counter[str]


_kept: dict[tuple[Path | None, str, float, str], PersistentWorker] = {}
"""The worker of this process by what it was made for: one entry at most."""


def grade_shard(work: Work, shard: Shard) -> Tally:
    """Grade the studies of a shard and write their results.

    Raises:
        WorkerStartError: weights or device do not work here.
        OvertakenError: another run has taken over the output folder.
    """
    logging.disable(logging.CRITICAL)
    with local_files(work.root, read_shard(work.index, shard), whole=True) as studies:
        outcome = _worker(work).grade(studies)
    ready = outcome.ready
    if ready is not None and (ready.weights_sha256 != work.results.weights_sha256 or ready.members_failed):
        left_out = ", ".join(f"{name}: {reason}" for name, reason in ready.members_failed.items())
        msg = f"the weights of this node are not those of the run: {left_out or 'another manifest'}"
        raise WorkerStartError(msg)
    return write_outcome(work, shard, outcome)


def record_lost(work: Work, shard: Shard, kind: str) -> Tally:
    """Record studies that no process could grade, with the kind of loss that Ray reports."""
    failure = Failure("grade", kind, "the process ended each time that Ray tried it")
    outcome = ShardOutcome(lost=dict.fromkeys(shard.study_ids, failure))
    return write_outcome(work, shard, outcome)


def write_outcome(work: Work, shard: Shard, outcome: ShardOutcome) -> Tally:
    """Write the results of a shard, unless another run has taken over."""
    current = work.results.out.read_json(RUN_FILE)
    if current is None or current["run"] != work.run:
        msg = "another run writes into the output folder"
        raise OvertakenError(msg)
    rows = work.results.write(shard.study_ids, outcome)
    failed = Counter(reason_of(row) for row in rows if row["status"] == FAILED)
    return Tally(len(rows), failed)


def reason_of(row: Row) -> str:
    """Why a study failed, in a phrase."""
    reasons = [failure["reason"] for failure in row["failures"]] or row["missing"]
    return str(reasons[0]) if reasons else "no member graded it"


def _worker(work: Work) -> PersistentWorker:
    """The worker of this process; a new one where weights, device, limit or the lent accelerator changed."""
    key = (work.weights, work.device, work.study_seconds, os.environ.get(VISIBLE, ""))
    if key not in _kept:
        stop_worker()
        atexit.register(stop_worker)
        _kept[key] = PersistentWorker(weights=work.weights, device=work.device, study_seconds=work.study_seconds)
    return _kept[key]


def stop_worker() -> None:
    """End the worker of this process, if there is one."""
    while _kept:
        _kept.popitem()[1].stop()
