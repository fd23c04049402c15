"""Members over a few studies at once: from the journal, as one batch, or study by study after a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.grading.crops import blank_crops
from lumbar_kernel.grading.ensemble import combine
from lumbar_kernel.grading.grader import grade, require_graded
from lumbar_kernel.models.checkpoints import LoadedModels
from lumbar_kernel.models.manifest import MemberSpec
from lumbar_kernel.runtime.journal import Journal
from lumbar_kernel.runtime.messages import Update
from lumbar_kernel.runtime.stages import StageRunner, StudyState
from lumbar_kernel.views import VIEWS


@dataclass(eq=False)
class MemberGrading:
    """Lets members grade studies that are cropped, and knows what an interrupted run has graded.

    Attributes:
        models: loaded networks.
        journal: records finished work on disk.
        stages: runs every stage.
    """

    models: LoadedModels
    journal: Journal
    stages: StageRunner

    @property
    def members(self) -> tuple[MemberSpec, ...]:
        """The members that could be loaded, in the manifest's order."""
        return tuple(spec for spec in self.models.manifest.members if spec.name in self.models.members)

    def recorded(self, study_id: str) -> StudyState | None:
        """A study as the journal holds it, None when a member that could grade it has not."""
        if (recorded := self.journal.study(study_id)) is None:
            return None
        report, weights, views = recorded
        state = StudyState(report, row_weights=weights)
        for spec in self.members:
            if spec.view not in views:
                continue
            if (probabilities := self.journal.grades(study_id, spec.name)) is None:
                return None
            state.predictions[spec.name] = probabilities
        return state

    def grade(self, spec: MemberSpec, block: Sequence[StudyState], *, size: int = 0) -> None:
        """Add one member's probabilities to several studies, from the journal where it holds all of them.

        A block that fails as a whole is tried study by study; so is every block once a process has been lost.

        Args:
            spec: the member.
            block: studies that are graded together.
            size: studies of the whole block where not all of them are prepared yet.
        """
        if spec.stage in self.stages.dropped:
            return
        ungraded = [state for state in block if state.lacks(spec)]
        recorded = [self.journal.grades(state.study_id, spec.name) for state in ungraded]
        found = [probabilities for probabilities in recorded if probabilities is not None]
        if len(found) == len(ungraded):
            for state, probabilities in zip(ungraded, found, strict=True):
                state.predictions[spec.name] = probabilities
            return
        if self.stages.shard.one_at_a_time or len(ungraded) == 1 or not self._predict(spec, block, ungraded, size):
            for state in ungraded:
                self._predict(spec, block, [state], size)

    def _predict(self, spec: MemberSpec, block: Sequence[StudyState], chosen: Sequence[StudyState], size: int) -> bool:
        """Let a member grade the chosen studies of a block of this size; returns whether it could.

        The others are replaced by blank crops rather than left out: another batch size would change the last bits.
        """
        view, nets = VIEWS[spec.view], self.models.members[spec.name]
        places = [block.index(state) for state in chosen]
        crops = [state.crops[spec.view] if state in chosen else blank_crops(view) for state in block]
        crops += [blank_crops(view)] * (size - len(block))

        def predict() -> FloatArray:
            return grade(crops, nets, view=view)[places]

        def check(probabilities: FloatArray) -> None:
            for place, of_study in zip(places, probabilities, strict=True):
                require_graded(of_study, crops[place], view)

        predicted = self.stages.run(spec.stage, [state.study_id for state in chosen], predict, nets=nets, check=check)
        if predicted is None:
            return False
        for state, probabilities in zip(chosen, predicted, strict=True):
            if not state.reduced:
                self.journal.add_grades(state.study_id, spec.name, probabilities)
            state.predictions[spec.name] = probabilities
        return True

    def update(self, state: StudyState) -> Update:
        """The study's grades as they stand, with its part of the report."""
        combined = combine(state.predictions, self.models.manifest, state.row_weights)
        report = replace(
            state.report,
            members=combined.members,
            graded_rows=int(combined.graded.sum()),
            failures=self.stages.recorder.failures(state.study_id) or state.report.failures,
        )
        return Update(grades=combined.grades, row_members=combined.row_members, report=report)
