"""Which of several series for one role is read: one rule, the first difference of which decides and is named.

A table's or the user's word comes first, then a series that is no remnant, several excitations before a single shot,
original before derived, one that covers the spine, plain before contrast agent and fat suppression, most slices, the
smallest gap, the last repeat. Series of the same contrast that show other places are read together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lumbar_kernel.dicom.descriptions import (
    IN_PHASE,
    OPPOSED,
    WATER,
    body_part_fits,
    description_fits,
    dixon_image,
    has_contrast_agent,
    is_derived,
    is_fat_suppressed,
    is_single_shot,
)
from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.dicom.ordering import distances
from lumbar_kernel.dicom.stacks import Stack, step_mm
from lumbar_kernel.geometry import CRANIAL, LEFT
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SERIES_DESCRIPTIONS

COARSE_MM = 1.6
"""Pixel spacing above which a series is a scout when a finer one exists; diagnostic series stay below 1.2 mm."""

WIDE_STEP_MM = 10.0
"""Step between slices above which a series is a scout when a denser one exists."""

NEEDED_MM = {SAGITTAL_T1: 60.0, SAGITTAL_T2: 60.0, AXIAL_T2: 140.0}
"""Extent beyond which a wider series shows nothing more to grade: both foramina, all five discs. Surveys, volumes and
reformatted series are often two or three times as wide as the series that the study was made for."""

COMPLETE_SHARE = 0.6
"""Share of the widest extent, or of the needed one where that is less, from which on a series counts as complete."""

ENOUGH_MM = 60.0
"""Extent that counts as complete beside a wider series of another kind: axial slices of three discs. Recesses are
graded better where three levels have plain slices and two the prior than on water images of all five."""

REMNANT_SHARE = 1 / 3
"""The same share below which a series is a remnant, such as an acquisition that was stopped after a few slices: then
even a survey shows more."""

NEW_SHARE = 1 / 3
"""Share of its slices that must show new places for a series to be read beside another one."""

SUPPRESSED = "fat-suppressed"

APART_MM = 15.0
"""Distance between series of different contrast that are read together: no crop of neighbours reaches as far."""

STATION_OVERLAP = 0.5
"""Overlap in height, of the smaller frame, below which two sagittal series show different stations of the spine."""

SMALL_SHARE = 0.5
"""Share of the most slices, and of the widest or the needed extent, below both of which a series is no station.

Slices alone would not do: those of a volume are many and thin.
"""


@dataclass(frozen=True, eq=False)
class Choice:
    """A stack that has a role, whether it is read, and the reason.

    Attributes:
        caution: what makes a series that is read other than the role asks for, empty where nothing does.
    """

    stack: Stack
    read: bool
    reason: str
    caution: str = ""

    @property
    def role(self) -> str:
        """The role that it could play."""
        return _role(self.stack)


@dataclass(frozen=True)
class Ranked:
    """A number by which stacks are ranked, less is better, and what a larger one means in words."""

    value: float
    words: str


def choose(stacks: Sequence[Stack]) -> tuple[Choice, ...]:
    """Decide which of the stacks that have a role are read, in the order given."""
    made: dict[Stack, Choice] = {}
    for role in SERIES_DESCRIPTIONS:
        for choice in _choose_for(role, [stack for stack in stacks if stack.role == role]):
            made[choice.stack] = choice
    return tuple(made[stack] for stack in stacks if stack in made)


def _choose_for(role: str, stacks: Sequence[Stack]) -> list[Choice]:
    """The best series of a role, those of its contrast or far from it that show other places, and the others."""
    others = _other_stations(stacks, role) if role != AXIAL_T2 else {}
    choices = [Choice(stack, False, reason) for stack, reason in others.items()]
    contrasts = {stack: _contrast(stack) for stack in stacks if stack not in others}
    reaches = {stack: _reach(stack) for stack in contrasts}
    ranks = {stack: _rank(stack, contrasts, reaches) for stack in contrasts}
    best_first = sorted(sorted(contrasts, key=_identity, reverse=True), key=lambda stack: _values(ranks[stack]))
    read: list[Stack] = []
    for stack in best_first:
        leader = read[0] if read else stack
        same = _values(contrasts[stack]) == _values(contrasts[leader])
        if not read:
            reason = stack.weighting.reason
        elif _shows_other_places(stack, read, role=role, same_contrast=same):
            reason = f"{stack.weighting.reason}; it shows other places than {_called(leader)}"
        elif role == AXIAL_T2 and same and stack.is_role_given:
            reason = stack.weighting.reason  # several are named in a study for the levels that each shows
        else:
            rival = next(
                (other for other in read if not _shows_other_places(stack, [other], role=role, same_contrast=same)),
                leader,
            )
            why = _difference(rival, stack, ranks)
            choices.append(Choice(stack, False, f"{why}; {_called(rival)} is read as {role} instead"))
            continue
        read.append(stack)
        choices.append(Choice(stack, True, reason, _caution(stack, contrasts[stack])))
    return choices


_DIXON_RANK: dict[str | None, int] = {None: 0, IN_PHASE: 0, WATER: 1, OPPOSED: 2}

WORDS, STANDING = 3, 5
"""How many numbers of a contrast say how it is known and no scout, and how many besides how its images were made."""


def _contrast(stack: Stack) -> tuple[Ranked, ...]:
    """What distinguishes two contrasts, the most important first."""
    headers = stack.headers
    dixon = Counter(dixon_image(header) for header in headers).most_common(1)[0][0]
    is_t1 = stack.role == SAGITTAL_T1
    return (
        Ranked(not stack.is_role_given, "no role is given to it"),
        Ranked(stack.weighting.by_pixels, "its headers name no weighting"),
        Ranked(
            _is_scout(stack),
            f"a scout by pixels of {_pixel_mm(stack):.1f} mm and steps of {step_mm(headers):.0f} mm",
        ),
        Ranked(_most(headers, is_single_shot), "a single-shot sequence"),
        Ranked(_most(headers, is_derived), "derived from other images by ImageType"),
        Ranked(_DIXON_RANK.get(dixon, 0), f"the {dixon} image of a Dixon sequence"),
        Ranked(is_t1 and _most(headers, has_contrast_agent), "with contrast agent"),
        Ranked(_most(headers, is_fat_suppressed), SUPPRESSED),
        Ranked(not is_t1 and _most(headers, _is_gradient_echo), "a gradient echo"),
    )


def _caution(stack: Stack, contrast: Sequence[Ranked]) -> str:
    """What to say of a series that is read for want of a better one; a role that is given is taken as it is."""
    usual = SUPPRESSED if stack.role == SAGITTAL_T2 else None
    odd = [item.words for item in contrast[2:] if item.value and item.words != usual]
    if stack.is_role_given or not odd:
        return ""
    return f"{_called(stack)} is read as {stack.role} although {', '.join(odd)}"


def _rank(
    stack: Stack, contrasts: Mapping[Stack, tuple[Ranked, ...]], reaches: Mapping[Stack, tuple[float, float]]
) -> tuple[Ranked, ...]:
    """The numbers by which a stack is ranked among those of its role, the most important first.

    How far it reaches counts for all series of its contrast together, which may be blocks, beside the widest of those
    that equal it in all that was asked before.
    """

    def equals(count: int) -> list[tuple[float, float]]:
        wanted = _values(own[:count])
        return [reaches[other] for other, contrast in contrasts.items() if _values(contrast[:count]) == wanted]

    own = contrasts[stack]
    of_contrast, extent = equals(len(own)), _extent([reaches[stack]])
    together = _extent(of_contrast)
    of_words, of_standing, of_kind = (
        min(NEEDED_MM[_role(stack)], max(_extent([reach]) for reach in reached))
        for reached in (equals(WORDS), equals(STANDING), of_contrast)
    )
    return (
        *own[:WORDS],
        Ranked(together < REMNANT_SHARE * of_words, f"a remnant that covers {together:.0f} of {of_words:.0f} mm"),
        *own[WORDS:STANDING],
        Ranked(
            together < min(ENOUGH_MM, COMPLETE_SHARE * of_standing),
            f"it covers {together:.0f} of {of_standing:.0f} mm",
        ),
        *own[STANDING:],
        Ranked(extent < COMPLETE_SHARE * of_kind, f"it covers {extent:.0f} mm, others of its kind more"),
        Ranked(-len(stack.headers), f"{len(stack.headers)} slices, fewer"),
        Ranked(round(step_mm(stack.headers), 1), f"steps of {step_mm(stack.headers):.1f} mm, wider"),
    )


def _difference(leader: Stack, stack: Stack, ranks: Mapping[Stack, Sequence[Ranked]]) -> str:
    """Why a stack ranks behind another, in words: the first number that differs."""
    for better, worse in zip(ranks[leader], ranks[stack], strict=True):
        if better.value != worse.value:
            return worse.words
    earlier = _identity(leader)[:2] != _identity(stack)[:2]
    return "an earlier acquisition of the same" if earlier else "equal in all that is compared"


def _identity(stack: Stack) -> tuple[str, int, str]:
    """Sort key of series that are equal otherwise: the last one acquired is the repeat of the others."""
    return stack.middle.acquired, stack.middle.series_number or 0, stack.series_id


def _values(ranks: Sequence[Ranked]) -> tuple[float, ...]:
    return tuple(item.value for item in ranks)


def _role(stack: Stack) -> str:
    """The role of a stack that has one."""
    assert stack.role is not None
    return stack.role


def _called(stack: Stack) -> str:
    description = stack.middle.series_description
    return f"series {stack.series_id} ({description!r})" if description else f"series {stack.series_id}"


def _most(headers: Sequence[SliceHeader], holds: Callable[[SliceHeader], bool]) -> bool:
    return 2 * sum(holds(header) for header in headers) > len(headers)


def _is_scout(stack: Stack) -> bool:
    return _pixel_mm(stack) > COARSE_MM or step_mm(stack.headers) > WIDE_STEP_MM


def _pixel_mm(stack: Stack) -> float:
    """The longer side of a pixel."""
    return max(stack.middle.plane.row_spacing, stack.middle.plane.column_spacing)


def _is_gradient_echo(header: SliceHeader) -> bool:
    codes = header.scanning_sequence.upper()
    return "GR" in codes and "SE" not in codes


def _reach(stack: Stack) -> tuple[float, float]:
    """From where to where the slices reach, along the body for axial ones and from side to side for sagittal, mm."""
    axis = CRANIAL if stack.role == AXIAL_T2 else LEFT
    along = [float(header.plane.centre @ axis) for header in stack.headers]
    return min(along), max(along)


def _extent(reaches: Sequence[tuple[float, float]]) -> float:
    """How far series with these reaches go together, mm."""
    return max(high for _, high in reaches) - min(low for low, _ in reaches)


def _shows_other_places(stack: Stack, read: Sequence[Stack], *, role: str, same_contrast: bool) -> bool:
    """Whether a series is read beside others: it shows other places, and no crop could mix two contrasts."""
    if role != AXIAL_T2 and not same_contrast:
        return False
    reach = 0.75 * max(step_mm(stack.headers), 1.0) if same_contrast else APART_MM
    others = [header for other in read for header in other.headers]
    halves = np.array([min(other.plane.extent_mm) / 2 for other in others])
    new = [not np.any((along < reach) & (within < halves)) for along, within in distances(stack.headers, others)]
    return sum(new) >= NEW_SHARE * len(new) if same_contrast else all(new)


def _other_stations(stacks: Sequence[Stack], role: str) -> dict[Stack, str]:
    """The sagittal series at other heights than the lumbar one: stations of a whole spine, the pelvis, scouts."""
    free = [stack for stack in stacks if not stack.is_role_given]
    reach = {stack: stack.middle.plane.heights for stack in free}
    small = _small(free, role)
    ranks = {stack: _station_rank(stack, is_small=stack in small) for stack in free}
    others: dict[Stack, str] = {}
    for stack in free:
        better = [other for other in free if _are_apart(reach[stack], reach[other]) and ranks[other] < ranks[stack]]
        if better:
            lumbar = min(better, key=ranks.__getitem__)
            shift = reach[stack][0] - reach[lumbar][0]
            side = "above" if shift > 0 else "below"
            others[stack] = f"a station of the spine {abs(shift):.0f} mm {side} {_called(lumbar)}, which is read"
    return others


def _are_apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two ranges of heights overlap too little to show the same part of the spine."""
    overlap = min(one[1], other[1]) - max(one[0], other[0])
    return overlap < STATION_OVERLAP * min(one[1] - one[0], other[1] - other[0])


def _small(stacks: Sequence[Stack], role: str) -> set[Stack]:
    """The series that are small beside the others in both slices and extent."""
    extents = {stack: _extent([_reach(stack)]) for stack in stacks}
    widest = min(NEEDED_MM[role], max(extents.values(), default=0.0))
    fullest = max((len(stack.headers) for stack in stacks), default=0)
    return {
        stack
        for stack, extent in extents.items()
        if len(stack.headers) < SMALL_SHARE * fullest and extent < SMALL_SHARE * widest
    }


def _station_rank(stack: Stack, *, is_small: bool) -> tuple[float, ...]:
    """Sort key of series at different heights, the lumbar station first: by name, then a proper series, then lowest."""
    headers = stack.headers
    return (
        not _most(headers, description_fits),
        not _most(headers, body_part_fits),
        is_small or _is_scout(stack) or _most(headers, is_single_shot) or _most(headers, is_derived),
        stack.middle.plane.heights[0],
    )
