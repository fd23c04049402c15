"""What the grading process tells the supervisor; free of torch, so that the first file need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.report import Recorder, StudyReport


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
    members_failed: dict[str, str]


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
        complete: whether everything planned was done, rather than the time up or an error in the way.
    """

    recorder: Recorder
    members: tuple[str, ...]
    complete: bool


Message = Ready | Update | Done
