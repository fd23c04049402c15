"""Files of a study → `Study`: which series plays which role, from the descriptions table, the headers or the pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.dicom.descriptions import T1, T2
from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.dicom.pixel_weighting import axial_weightings, sagittal_weightings
from lumbar_kernel.dicom.pixels import try_frames
from lumbar_kernel.dicom.roles import Weighting
from lumbar_kernel.dicom.safe_open import refusal
from lumbar_kernel.dicom.selection import Choice, choose
from lumbar_kernel.dicom.stacks import Stack, stacks_of
from lumbar_kernel.dicom.volumes import SLAB_MM, is_averaged, reformatted_decision, slabs, source_of_axials
from lumbar_kernel.errors import DicomError
from lumbar_kernel.geometry import Plane
from lumbar_kernel.schema import AXIAL_T2
from lumbar_kernel.study import Series, SeriesDecision, Slice, Study, StudyFiles

STUDY_LIMIT = 1 << 28
"""Most pixels of a study, a gigabyte in float32; 250 slices of 1024 × 1024."""

COMPARED = (64, 32, 16, 8)
"""Slices of a series that are compared where pixels decide: all of any but a volume, fewer where series are many."""

MAX_NAMED_AXIAL = 2
"""Axial T2 series named by their headers, the fullest, that are compared with those that are not."""


def read_study(files: StudyFiles) -> Study:
    """Read the series of a study that play a role; what cannot be used is named in `problems` and `decisions`.

    Broken files are skipped. A study without any usable series has `series=()`.
    """
    found = stacks_of(files.series)
    decoding = _Decoding(list(found.problems))
    stacks = _with_weightings_by_pixels(found.stacks, decoding)
    while True:
        choices = choose(decoding.intact(stacks))
        chosen = [choice.stack for choice in choices if choice.read]
        decoding.forget_all_but(chosen)
        if not decoding.decode(chosen):
            break
        # a series that lost slices may now rank behind another one
    lost = decoding.report_lost(found.stacks)
    decoding.problems += [choice.caution for choice in choices if choice.caution]
    without_role = [
        stack.decision(None, f"{stack.weighting.reason}, no role wants it")
        for stack in stacks
        if stack.weighting.name and not stack.role
    ]
    undecided = [
        stack.decision(None, f"{stack.weighting.reason}, and its pixels could not be compared")
        for stack in decoding.intact(stacks)
        if not stack.weighting.name
    ]
    series = tuple(
        Series(choice.stack.series_id, choice.role, slabs(choice.stack, decoding.slices(choice.stack)))
        for choice in choices
        if choice.read
    )
    decisions, volume = [*map(decision_of, choices)], None
    if (source := source_of_axials(choices)) is not None:
        decoding.decode([source])
        for stack in decoding.intact([source]):
            decisions.append(reformatted_decision(stack))
            volume = Series(decisions[-1].series_id, AXIAL_T2, decoding.slices(stack))
    decisions += [*lost, *without_role, *undecided, *found.refused]
    return Study(files.study_id, series, tuple(dict.fromkeys(decoding.problems)), tuple(decisions), volume)


def decision_of(choice: Choice) -> SeriesDecision:
    """A choice as it is reported."""
    if not choice.read:
        return choice.stack.decision(None, choice.reason)
    averaged = f"; its slices are averaged to {SLAB_MM:.0f} mm" if is_averaged(choice.stack) else ""
    return choice.stack.decision(choice.role, f"{choice.reason}{averaged}")


class _Decoding:
    """The pixels decoded of one study so far, and the slices that failed."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        self._pixels: dict[SliceHeader, NDArray[np.float32]] = {}
        self._copies: dict[SliceHeader, SliceHeader] = {}
        self._failed: set[SliceHeader] = set()

    def decode(self, stacks: Sequence[Stack]) -> bool:
        """Decode the slices of stacks that are not decoded yet; whether any of them failed."""
        spent = sum(image.size for image in self._pixels.values())
        wanted = self._missing(stacks)
        left_out = _beyond_limit(wanted, limit=STUDY_LIMIT - spent)
        for path in dict.fromkeys(header.path for header in wanted if header in left_out):
            self.problems.append(str(refusal(path, f"left out, the study has more than {STUDY_LIMIT} pixels")))
        self._read([header for header in wanted if header not in left_out], stacks)
        failed = self._missing(stacks)
        self._failed.update(failed)
        return bool(failed)

    def compared(self, stacks: Sequence[Stack]) -> list[tuple[Stack, tuple[Slice, ...]]]:
        """Slices of each stack that decide about its weighting, of all stacks together at most half of the limit.

        What does not fit is left out here and may be read later, so that a series that is only compared costs no other
        one its slices.
        """
        few = _few_slices(stacks, limit=STUDY_LIMIT // 2)
        self._read(self._missing(few.values()), few.values())
        missing = {*self._missing(few.values())}
        self._failed.update(missing)
        read = {stack: part.without(missing) for stack, part in few.items()}
        return [(stack, self.slices(part)) for stack, part in read.items() if part.headers]

    def forget_all_but(self, stacks: Sequence[Stack]) -> None:
        """Free the pixels of all slices but those of these stacks."""
        kept = {header for stack in stacks for header in stack.headers}
        self._copies = {header: copy for header, copy in self._copies.items() if header in kept}
        kept.update(self._copies.values())
        self._pixels = {header: pixels for header, pixels in self._pixels.items() if header in kept}

    def _missing(self, stacks: Iterable[Stack]) -> list[SliceHeader]:
        known = {*self._pixels, *self._copies}
        return [header for stack in stacks for header in stack.headers if header not in known]

    def _read(self, headers: Sequence[SliceHeader], stacks: Iterable[Stack]) -> None:
        self._pixels |= _decode(headers, self.problems)
        copies = {header: same for stack in stacks for header, same in stack.copies.items()}
        self._decode_copies({header: list(copies[header]) for header in headers if header not in self._pixels})

    def _decode_copies(self, copies: Mapping[SliceHeader, list[SliceHeader]]) -> None:
        """Read the first intact copy of each slice that could not be decoded, where there is one."""
        while waiting := {
            header: same.pop(0) for header, same in copies.items() if same and header not in self._copies
        }:
            decoded = _decode([*waiting.values()], self.problems)
            self._pixels |= decoded
            for header, copy in waiting.items():
                if copy in decoded:
                    self._copies[header] = copy
                    self.problems.append(str(refusal(header.path, f"its copy {copy.path.name} is read instead")))

    def intact(self, stacks: Sequence[Stack]) -> list[Stack]:
        """The stacks without the slices that failed, those that have others."""
        kept = (stack.without(self._failed) for stack in stacks)
        return [stack for stack in kept if stack.headers]

    def slices(self, stack: Stack) -> tuple[Slice, ...]:
        """The decoded slices of a stack, the weakest signal of each zero.

        Magnitude images have no negative signal; an archive that shifts them (RescaleIntercept, signed values) must
        not change a grade.
        """
        read = (self._copies.get(header, header) for header in stack.headers)
        return tuple(Slice(header.plane, _from_zero(self._pixels[header]), header.instance_number) for header in read)

    def report_lost(self, stacks: Sequence[Stack]) -> list[SeriesDecision]:
        """The stacks of which no slice could be decoded, each also a problem."""
        lost = [stack for stack in stacks if self._failed.issuperset(stack.headers)]
        for stack in lost:
            self.problems.append(f"series {stack.series_id}: none of its {len(stack.headers)} slices could be decoded")
        return [stack.decision(None, "none of its slices could be decoded") for stack in lost]


def _with_weightings_by_pixels(stacks: Sequence[Stack], decoding: _Decoding) -> list[Stack]:
    """The stacks with a weighting each, by pixels where headers name none."""
    unknown = {stack.plane for stack in stacks if stack.weighting.name is None}
    if not unknown:
        return list(stacks)
    read = [
        (stack, slices)
        for stack, slices in decoding.compared(_comparable(stacks))
        if not all(item.is_blank for item in slices)
    ]
    sagittal, axial = ([item for item in read if item[0].plane is plane] for plane in (Plane.SAGITTAL, Plane.AXIAL))
    known = [stack.weighting.name for stack, _ in sagittal]
    names = sagittal_weightings([slices for _, slices in sagittal], known=known, axial=[slices for _, slices in axial])
    found = {stack.series_id: name for (stack, _), name in zip(sagittal, names, strict=True)}
    if Plane.AXIAL in unknown:
        references: dict[str, tuple[Slice, ...]] = {T1: (), T2: ()}
        for (_, slices), name in zip(sagittal, names, strict=True):
            references[name] = max(references[name], slices, key=len)
        known = [stack.weighting.name for stack, _ in axial]
        names = axial_weightings([slices for _, slices in axial], references, known=known)
        found |= {stack.series_id: name for (stack, _), name in zip(axial, names, strict=True)}
    return [
        replace(stack, weighting=Weighting(seen, f"{seen} by its pixels", by_pixels=True))
        if stack.weighting.name is None and (seen := found.get(stack.series_id))
        else stack
        for stack in stacks
    ]


def _comparable(stacks: Sequence[Stack]) -> list[Stack]:
    """The series whose pixels decide: those without a weighting, and the fullest of each one that headers name."""
    chosen = {stack for stack in stacks if stack.weighting.name is None}
    for plane, name, most in ((Plane.SAGITTAL, T1, 1), (Plane.SAGITTAL, T2, 1), (Plane.AXIAL, T2, MAX_NAMED_AXIAL)):
        named = [stack for stack in stacks if stack.plane is plane and stack.weighting.name == name]
        chosen.update(sorted(named, key=lambda stack: len(stack.headers), reverse=True)[:most])
    return [stack for stack in stacks if stack in chosen]


def _few_slices(stacks: Sequence[Stack], *, limit: int) -> dict[Stack, Stack]:
    """The stacks with as many slices, evenly spread, as fit a number of pixels; else the fullest of each plane."""
    few: dict[Stack, Stack] = {}
    for most in COMPARED:
        few = {stack: _thinned(stack, most) for stack in stacks}
        if _pixel_count(few.values()) <= limit:
            return few
    fullest = sorted(stacks, key=lambda stack: len(stack.headers), reverse=True)
    by_plane = [[stack for stack in fullest if stack.plane is plane] for plane in Plane]
    for stack in reversed([stack for places in zip_longest(*by_plane) for stack in places if stack]):
        if _pixel_count(few.values()) > limit:
            del few[stack]
    return few


def _thinned(stack: Stack, most: int) -> Stack:
    count = len(stack.headers)
    if count <= most:
        return stack
    return replace(stack, headers=tuple(stack.headers[k * count // most] for k in range(most)))


def _pixel_count(stacks: Iterable[Stack]) -> int:
    return sum(math.prod(header.plane.shape) for stack in stacks for header in stack.headers)


def _from_zero(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pixels with their minimum at zero, the same array where it is there already, as in nearly all files."""
    lowest = pixels.min()
    return pixels - lowest if lowest else pixels


def _beyond_limit(headers: Sequence[SliceHeader], *, limit: int) -> set[SliceHeader]:
    """The slices that do not fit a number of pixels, the largest of all."""
    total, beyond = 0, set()
    for header in sorted(headers, key=lambda header: math.prod(header.plane.shape)):
        total += math.prod(header.plane.shape)
        if total > limit:
            beyond.add(header)
    return beyond


def _decode(headers: Iterable[SliceHeader], problems: list[str]) -> dict[SliceHeader, NDArray[np.float32]]:
    """Pixels by header, every file decoded once; files and frames that fail are reported and left out."""
    by_file: dict[Path, list[SliceHeader]] = {}
    for header in headers:
        by_file.setdefault(header.path, []).append(header)
    pixels: dict[SliceHeader, NDArray[np.float32]] = {}
    for frames in by_file.values():
        try:
            found = try_frames(frames)
        except DicomError as error:
            problems.append(str(error))
            continue
        for header, item in zip(frames, found, strict=True):
            if isinstance(item, DicomError):
                problems.append(str(item))
            else:
                pixels[header] = item
    return pixels
