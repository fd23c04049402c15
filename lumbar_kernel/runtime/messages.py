"""Messages between supervisor and workers; free of torch, whose import would delay the first file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.results.report import Failure, StudyReport
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.study import StudyFiles

LOADING = "load weights"
"""The stage in which a worker gets its networks."""


@dataclass(frozen=True, eq=False)
class Shard:
    """The work of one worker.

    Attributes:
        number: of the shard; names its journal.
        studies: in the order in which they are graded.
        device: that grades.
        drawn: ids of the studies that are drawn, of this shard or another.
        resume: continue from the journal of an earlier worker.
        one_at_a_time: grade studies one at a time, since an earlier worker was lost.
        given_up: (study, stage) that ended an earlier worker → how; with study None the stage is skipped for all.
    """

    number: int
    studies: tuple[StudyFiles, ...]
    device: str
    drawn: frozenset[str] = frozenset()
    resume: bool = False
    one_at_a_time: bool = False
    given_up: Mapping[tuple[str | None, str], Failure] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Ready:
    """The weights are loaded and reading is about to begin.

    Attributes:
        device: that will grade.
        weights_sha256: of the manifest.
        members_failed: member left out → reason.
    """

    device: str
    weights_sha256: str
    members_failed: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Step:
    """A stage begins, so that the supervisor knows what ended or hung a worker.

    Attributes:
        stage: name, as in the report.
        studies: that it works on, none when it belongs to no study.
        seconds: spent so far, per stage.
    """

    stage: str
    studies: tuple[str, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Note:
    """A sentence for the report on what the time allows, or on the device."""

    text: str


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a worker is.

    Attributes:
        shard: number of its shard.
        phase: the pass that it is in: the first one, a member's, or the second one of reduced studies.
        done: studies of the shard that this pass has graded.
        studies: of the shard in this pass.
        seconds_left: expected until the shard is finished.
    """

    shard: int
    phase: str
    done: int
    studies: int
    seconds_left: float


@dataclass(frozen=True, eq=False)
class Update:
    """The best grades of a study so far, (25, 3), the members behind each of the 25, and its part of the report."""

    grades: NDArray[np.float64]
    row_members: tuple[tuple[str, ...], ...]
    report: StudyReport


@dataclass(frozen=True, eq=False)
class Done:
    """The worker has finished.

    Attributes:
        recorder: failures and seconds per stage.
        members: those that graded every study they could.
        members_failed: member dropped on the way → reason.
        complete: whether all planned work was done; False when time ran out or an error stopped it.
    """

    recorder: Recorder
    members: tuple[str, ...] = ()
    members_failed: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


Message = Ready | Step | Note | Progress | Update | Done
