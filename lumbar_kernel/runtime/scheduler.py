"""What fits into the time that is left: expected seconds of every stage, and the order in which members pay off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lumbar_kernel.models.manifest import Manifest, MemberSpec
from lumbar_kernel.runtime.budget import Budget, Estimate
from lumbar_kernel.runtime.messages import Progress
from lumbar_kernel.schema import GROUPS
from lumbar_kernel.views import VIEWS

REDUCED_STRIDE = 2
"""A reduced pass localises the levels on every second sagittal slice: less than half the time, and landmarks that move
by 2 mm (canal) and 4 mm (foramina), means of the largest shift in eight phantoms. Every third slice would cost 7 mm."""

AMPLE = 1.5
"""Time is ample while it is enough for so many times the work that is left."""


@dataclass(frozen=True)
class FirstPass:
    """How a study gets its first grades.

    Attributes:
        members: that grade it.
        stride: levels are localised on every `stride`-th sagittal slice.
    """

    members: tuple[MemberSpec, ...]
    stride: int = 1


@dataclass(frozen=True)
class FirstPassOptions:
    """The first passes to choose from.

    Attributes:
        full: while all studies fit into the time that is left.
        reduced: when they do not; its members also grade the very first study, so that there is something to show.
        everything: by all members, while time is ample and for studies that an interrupted run had begun.
        phase: name of the pass in the progress.
    """

    full: FirstPass
    reduced: FirstPass
    everything: FirstPass
    phase: str = "first pass"


class Scheduler:
    """Expected seconds of every stage and member: the manifest's at first, then what was measured.

    Args:
        manifest: gives the initial estimates.
        budget: gives the time that is left.
    """

    def __init__(self, manifest: Manifest, budget: Budget) -> None:
        initial = {**manifest.stage_seconds, **{spec.stage: spec.seconds_per_study for spec in manifest.members}}
        self._cpu_seconds = initial
        self._estimates = {stage: Estimate(seconds) for stage, seconds in initial.items()}
        self._stages = tuple(manifest.stage_seconds)
        self._budget = budget

    def learn(self, stage: str, seconds: float, *, studies: float) -> None:
        """Update the estimate of a stage; `studies` is a fraction of one where only that part of the work was done.

        Stages that the manifest does not name, and measurements of no studies, are ignored.
        """
        if stage in self._estimates and studies > 0:
            self._estimates[stage].add(seconds, units=studies)

    def first_pass_seconds(self, first_pass: FirstPass) -> float:
        """Expected seconds of a first pass for one study."""
        stages = {stage: self._estimates[stage].seconds() for stage in self._stages}
        stages["localise"] /= first_pass.stride
        return sum(stages.values()) + sum(self.member_seconds(spec) for spec in first_pass.members)

    def member_seconds(self, spec: MemberSpec) -> float:
        """Expected seconds of one member for one study."""
        return self._estimates[spec.stage].seconds()

    def progress(
        self, shard: int, phase: str, done: int, studies: int, each: float, later: Sequence[MemberSpec]
    ) -> Progress:
        """How far a pass is: its other studies take `each` seconds, then the later members pass over all of them."""
        after = sum(self.member_seconds(spec) for spec in later)
        return Progress(shard, phase, done, studies, each * (studies - done) + after * studies)

    def fits_on_cpu(self, stage: str, *, studies: int) -> bool:
        """Whether a stage of so many studies fits by the manifest's figure, which was measured on a processor."""
        return self._budget.fits(self._cpu_seconds.get(stage, 0.0) * studies)

    def choose(self, options: FirstPassOptions, *, studies: int) -> FirstPass:
        """By all members while time is ample, in full while all studies fit into the time left, else reduced."""
        if self._budget.fits(AMPLE * self.first_pass_seconds(options.everything) * studies):
            return options.everything
        return options.full if self._budget.fits(self.first_pass_seconds(options.full) * studies) else options.reduced

    def members_fit(self, members: Sequence[MemberSpec], *, studies: int, full: FirstPass, later: int) -> bool:
        """Whether these members can grade some studies now and a full first pass of the `later` studies still fits."""
        seconds = sum(self.member_seconds(spec) for spec in members)
        return self._budget.fits(seconds * studies + self.first_pass_seconds(full) * later)

    def shortage(self, full: FirstPass, reduced: FirstPass, *, studies: int) -> str:
        """A sentence on why the reduced pass is used, and how many studies it will reach."""
        left = self._budget.remaining()
        full_seconds, seconds = (self.first_pass_seconds(item) * studies for item in (full, reduced))
        text = f"a full first pass of {studies} studies needs {full_seconds:.0f} s and {left:.0f} s are left: "
        text += f"one of every {reduced.stride} sagittal slices and the fastest members first, {seconds:.0f} s"
        return (
            text if self._budget.fits(seconds) else f"{text}; enough for about {int(studies * left / seconds)} of them"
        )

    def affordable_studies(self, seconds_each: float, *, most: int) -> int:
        """How many studies can be processed together before the time is up, 0 when not even one.

        Several at once may use a quarter of the time at most, since their grades come together at the end.
        """
        fitting = (count for count in range(most, 1, -1) if self._budget.fits(4 * seconds_each * count))
        return next(fitting, int(self._budget.fits(seconds_each)))

    def next_member(self, members: Sequence[MemberSpec]) -> MemberSpec:
        """The member that gains most per second; the first of those that gain the same."""
        return max(members, key=lambda spec: spec.gain / max(self.member_seconds(spec), 1e-6))


def first_members(members: Sequence[MemberSpec]) -> tuple[MemberSpec, ...]:
    """The fewest best members that together grade every condition.

    For each condition the one with the largest weight, and among equal weights the one that gains most.
    """
    chosen: list[MemberSpec] = []
    for group in GROUPS:
        able = [spec for spec in members if group in VIEWS[spec.view].groups]
        if able:
            best = max(able, key=lambda spec: (spec.weight(group), spec.gain))
            chosen += [best] if best not in chosen else []
    return tuple(chosen)


def fastest_members(chosen: Sequence[MemberSpec], members: Sequence[MemberSpec]) -> tuple[MemberSpec, ...]:
    """In place of each chosen member, the fastest of its view."""
    views = dict.fromkeys(spec.view for spec in chosen)
    return tuple(min((s for s in members if s.view == view), key=lambda s: s.seconds_per_study) for view in views)
