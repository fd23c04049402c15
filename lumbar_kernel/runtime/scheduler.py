"""What is to be done in the time there is: how long each step will take, and in which order members are worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lumbar_kernel.models.manifest import Manifest, MemberSpec
from lumbar_kernel.runtime.budget import Budget, Estimate
from lumbar_kernel.schema import GROUPS
from lumbar_kernel.views import VIEWS

THIN = 2
"""In a thin pass the levels are looked for on every second sagittal slice: less than half the time, and landmarks that
move by 2 mm (canal) and 4 mm (foramina), means of the largest shift in eight phantoms. Every third would cost 7 mm."""


@dataclass(frozen=True)
class Pass:
    """How a study is taken to its first grades.

    Attributes:
        members: that grade it.
        stride: of the sagittal slices on which the levels are looked for.
    """

    members: tuple[MemberSpec, ...]
    stride: int = 1


@dataclass(frozen=True)
class FirstPassOptions:
    """How studies may be taken to their first grades.

    Attributes:
        full: while all of them fit.
        thin: when they do not.
        again: those that an interrupted run had begun.
    """

    full: Pass
    thin: Pass
    again: Pass


class Plan:
    """Expected seconds of every stage and member, the manifest's at first, then what was measured; and what follows.

    Args:
        manifest: gives the figures to start from.
        budget: asked for the time that is left.
    """

    def __init__(self, manifest: Manifest, budget: Budget) -> None:
        starts = {**manifest.stage_seconds, **{grading(spec): spec.seconds_per_study for spec in manifest.members}}
        self._on_cpu = starts
        self._estimates = {stage: Estimate(seconds) for stage, seconds in starts.items()}
        self._stages = tuple(manifest.stage_seconds)
        self._budget = budget

    def learn(self, stage: str, seconds: float, *, studies: float) -> None:
        """Take in what a stage took; studies may be a fraction of one where it did only that part of the work.

        Nothing is learnt of a stage that the manifest does not name, nor from no studies.
        """
        if stage in self._estimates and studies > 0:
            self._estimates[stage].add(seconds, units=studies)

    def seconds(self, way: Pass) -> float:
        """Expected seconds of a first pass for one study."""
        stages = {stage: self._estimates[stage].seconds() for stage in self._stages}
        stages["localise"] /= way.stride
        return sum(stages.values()) + sum(self.member_seconds(spec) for spec in way.members)

    def member_seconds(self, spec: MemberSpec) -> float:
        """Expected seconds of one member for one study."""
        return self._estimates[grading(spec)].seconds()

    def fits_on_cpu(self, stage: str, *, studies: int) -> bool:
        """Whether a stage of so many studies fits by the manifest's figure, which is the processor's."""
        return self._budget.fits(self._on_cpu.get(stage, 0.0) * studies)

    def choose(self, full: Pass, thin: Pass, *, studies: int) -> Pass:
        """The full pass while all studies fit into the time that is left, else the thin one."""
        return full if self._budget.fits(self.seconds(full) * studies) else thin

    def fits_also(self, way: Pass, *, now: int, full: Pass, later: int) -> bool:
        """Whether the members of a pass may go on with some studies now and a full first pass of those later fits."""
        members = sum(self.member_seconds(spec) for spec in way.members)
        return self._budget.fits(members * now + self.seconds(full) * later)

    def outlook(self, full: Pass, thin: Pass, *, studies: int) -> str:
        """A sentence on why the thin pass has to do, and how far it will get."""
        left, needed, thinly = self._budget.remaining(), self.seconds(full) * studies, self.seconds(thin) * studies
        text = f"a full first pass of {studies} studies needs {needed:.0f} s and {left:.0f} s are left: every {THIN}nd"
        text += f" sagittal slice and the fastest members first, {thinly:.0f} s"
        short = "" if self._budget.fits(thinly) else f"; enough for about {int(studies * left / thinly)} of them"
        return text + short

    def how_many(self, seconds_each: float, *, most: int) -> int:
        """How many studies may be taken together before the time is up, 0 when not even one.

        Several at once may use a quarter of the time at most, since their grades come together at the end.
        """
        fitting = (count for count in range(most, 1, -1) if self._budget.fits(4 * seconds_each * count))
        return next(fitting, int(self._budget.fits(seconds_each)))

    def next_member(self, members: Sequence[MemberSpec]) -> MemberSpec:
        """The member that gains most per second; the first of those that gain alike."""
        return max(members, key=lambda spec: spec.gain / max(self.member_seconds(spec), 1e-6))


def grading(spec: MemberSpec) -> str:
    """The name of the stage in which a member grades."""
    return f"grade {spec.name}"


def first_members(members: Sequence[MemberSpec]) -> tuple[MemberSpec, ...]:
    """The fewest best members that together grade every condition: the heaviest member of each."""
    chosen: list[MemberSpec] = []
    for group in GROUPS:
        able = [spec for spec in members if group in VIEWS[spec.view].groups]
        if able:
            best = max(able, key=lambda spec: share(spec, group))
            chosen += [best] if best not in chosen else []
    return tuple(chosen)


def fastest_members(chosen: Sequence[MemberSpec], members: Sequence[MemberSpec]) -> tuple[MemberSpec, ...]:
    """In place of each member chosen, the fastest of its view."""
    views = dict.fromkeys(spec.view for spec in chosen)
    return tuple(min((s for s in members if s.view == view), key=lambda s: s.seconds_per_study) for view in views)


def share(spec: MemberSpec, group: str) -> float:
    """A member's ensemble weight for a condition that its view can grade."""
    return spec.ensemble_weight[VIEWS[spec.view].groups.index(group)]
