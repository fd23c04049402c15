"""What is known of a run so far: grades, reports and failures, gathered from the messages of its workers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import __version__
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.config import Config
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK, Failure, Report, StudyReport
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.first_grades import EARLIER, NOT_GRADED
from lumbar_kernel.runtime.messages import Done, Message, Note, Ready, Update
from lumbar_kernel.schema import ROWS


@dataclass(eq=False)
class RunState:
    """What the workers have reported so far, and how they ended.

    Attributes:
        grades: study id → (25, 3) best grades so far, in the order of the submission.
        reports: study id → its part of the report.
        row_members: study id → members behind each of the 25 rows; absent while it is not graded.
        ready: the message of each worker whose weights were loaded.
        done: the closing message of each worker.
        notes: sentences for the report.
        failures: that belong to no particular study.
        unwritten: why the present grades are not on disk.
        seconds: per stage, summed over all workers.
        first_file_seconds: that the start and the first file took, the search for studies aside.
        dirty: whether grades have changed since they were written.
        cut_short: whether workers were stopped, or could not take up all studies.
    """

    grades: dict[str, FloatArray]
    reports: dict[str, StudyReport]
    row_members: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    ready: list[Ready] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unwritten: tuple[Failure, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    first_file_seconds: float = 0.0
    dirty: bool = False
    cut_short: bool = False

    @property
    def graded(self) -> dict[str, NDArray[np.bool_]]:
        """Study id → (25,) whether a member graded the row."""
        return {key: np.array([bool(names) for names in members]) for key, members in self.row_members.items()}

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Failures of finished workers that belong to no particular study."""
        return tuple(failure for done in self.done for failure in done.recorder.failures(None))

    @property
    def complete(self) -> bool:
        """Whether everything that was planned has been done."""
        return bool(self.done) and all(done.complete for done in self.done) and not self.cut_short

    def take(self, message: Message) -> None:
        """Store one message."""
        if isinstance(message, Update):
            self._take_update(message)
        elif isinstance(message, Ready):
            self.ready.append(message)
        elif isinstance(message, Note):
            self.notes.append(message.text)
        elif isinstance(message, Done):
            self.done.append(message)

    def _take_update(self, update: Update) -> None:
        """Store what is new of a study; where it has no grade, those of the run that this one resumes stay."""
        study_id, report = update.report.study_id, update.report
        earlier = sum(EARLIER in names for names in self.row_members.get(study_id, ()))
        if earlier and not report.graded_rows:
            missing = (NOT_GRADED, *report.missing)
            self.reports[study_id] = replace(report, members=(EARLIER,), graded_rows=earlier, missing=missing)
            return
        self.grades[study_id], self.row_members[study_id] = update.grades, update.row_members
        self.reports[study_id] = report
        self.dirty = True

    def report(self, config: Config, budget: Budget) -> Report:
        """The report of the run, with its exit code."""
        studies = tuple(self.reports[study_id] for study_id in self.grades)
        failures = (*self.failures, *self.unwritten, *self.failed)
        reported = [*(item.members_failed for item in self.ready), *(item.members_failed for item in self.done)]
        failed = {name: reason for members in reported for name, reason in members.items()}
        whole = all(
            item.graded_rows == len(ROWS) and not item.failures and EARLIER not in item.members for item in studies
        )
        first, *others = [done.members for done in self.done] or [()]
        return Report(
            version=__version__,
            weights_sha256=self.ready[0].weights_sha256 if self.ready else "",
            device=", ".join(dict.fromkeys(message.device for message in self.ready)) or "none",
            studies=studies,
            stages={name: round(value, 3) for name, value in self.seconds.items()},
            members=() if self.cut_short else tuple(name for name in first if all(name in other for other in others)),
            members_failed=failed,
            failures=failures,
            notes=tuple(dict.fromkeys(self.notes)),
            seconds=budget.elapsed(),
            budget_seconds=config.seconds,
            margin_seconds=None if config.seconds is None else budget.margin(),
            exit_code=EXIT_OK if whole and self.complete and not failures and not failed else EXIT_DEGRADED,
        )
