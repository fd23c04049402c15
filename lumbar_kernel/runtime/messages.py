"""What a grading process is given to do and what it tells; free of torch, so that the first file need not wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.results.report import Failure, StudyReport
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.study import StudyFiles

WAITING = "wait for reading"
"""The stage in which a grading process waits for its readers, which have limits of their own."""

STUDIES_AT_ONCE = 4
"""Studies graded together, and in one share: enough crops for full batches, few enough that grades come early."""


@dataclass(frozen=True, eq=False)
class Shard:
    """What one grading process is to do.

    Attributes:
        number: of the share; names its journal.
        studies: in the order in which they are graded.
        device: that grades.
        resume: take up what an earlier process left in the journal.
        careful: grade studies one at a time, since an earlier process did not survive.
        given_up: study and stage that ended an earlier process → how; without study the stage is left out for all.
    """

    number: int
    studies: tuple[StudyFiles, ...]
    device: str
    resume: bool = False
    careful: bool = False
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
    """A stage begins; whoever ends or hangs the process after this is known.

    Attributes:
        stage: as in the report.
        studies: that are in it, none where it is of no study in particular.
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
class Update:
    """The best grades of a study so far, (25, 3), with its part of the report."""

    grades: NDArray[np.float64]
    report: StudyReport


@dataclass(frozen=True, eq=False)
class Done:
    """The grading process has nothing more to tell.

    Attributes:
        recorder: failures and seconds per stage.
        members: those that graded every study they could.
        members_failed: member left out on the way → reason.
        complete: whether everything planned was done, rather than the time up or an error in the way.
    """

    recorder: Recorder
    members: tuple[str, ...] = ()
    members_failed: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


Message = Ready | Step | Note | Update | Done
