"""Files of a study → `Study`: which series plays which role, from the descriptions table, the headers or the pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
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


def read_study(files: StudyFiles) -> Study:
    """Read the series of a study that play a role; what cannot be used is named in `problems` and `decisions`.

    Broken files are skipped. A study without any usable series has `series=()`.
    """
    found = stacks_of(files.series)
    decoding = _Decoding(list(found.problems))
    stacks = _with_weightings_by_pixels(found.stacks, decoding)
    while True:
        choices = choose([(stack, stack.role) for stack in decoding.intact(stacks) if stack.role])
        if not decoding.decode([choice.stack for choice in choices if choice.read]):
            break
        # a series that lost slices may now rank behind another one
    lost = decoding.report_lost(found.stacks)
    decoding.problems += [choice.caution for choice in choices if choice.caution]
    without_role = [
        stack.decision(None, f"{stack.weighting.reason}, no role wants it")
        for stack in stacks
        if stack.weighting.name and not stack.role
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
    decisions += [*lost, *without_role, *found.refused]
    return Study(files.study_id, series, tuple(decoding.problems), tuple(decisions), volume)


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
        known = {*self._pixels, *self._copies}
        wanted = [header for stack in stacks for header in stack.headers if header not in known]
        spent = sum(image.size for image in self._pixels.values())
        fitting = _within_limit(wanted, self.problems, limit=STUDY_LIMIT - spent)
        self._pixels |= _decode(fitting, self.problems)
        copies = {header: same for stack in stacks for header, same in stack.copies.items()}
        self._decode_copies({header: list(copies[header]) for header in fitting if header not in self._pixels})
        failed = {header for header in wanted if header not in self._pixels and header not in self._copies}
        self._failed |= failed
        return bool(failed)

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
    planes = {plane: [stack for stack in stacks if stack.plane is plane] for plane in (Plane.SAGITTAL, Plane.AXIAL)}
    unknown = {plane for plane in planes if any(stack.weighting.name is None for stack in planes[plane])}
    if not unknown:
        return list(stacks)
    sagittal = _decoded(planes[Plane.SAGITTAL], decoding)
    axial = _decoded(planes[Plane.AXIAL], decoding)
    known = [stack.weighting.name for stack, _ in sagittal]
    names = sagittal_weightings([slices for _, slices in sagittal], known=known, axial=[slices for _, slices in axial])
    found = {stack.series_id: name for (stack, _), name in zip(sagittal, names, strict=True)}
    if Plane.AXIAL in unknown:
        references = {
            weighting: [
                item for (_, slices), name in zip(sagittal, names, strict=True) if name == weighting for item in slices
            ]
            for weighting in (T1, T2)
        }
        known = [stack.weighting.name for stack, _ in axial]
        names = axial_weightings([slices for _, slices in axial], references, known=known)
        found |= {stack.series_id: name for (stack, _), name in zip(axial, names, strict=True)}
    return [
        stack
        if stack.weighting.name
        else replace(stack, weighting=Weighting(name, f"{name} by its pixels", by_pixels=True))
        for stack in stacks
        for name in (found.get(stack.series_id),)
    ]


def _decoded(stacks: Sequence[Stack], decoding: _Decoding) -> list[tuple[Stack, tuple[Slice, ...]]]:
    decoding.decode(stacks)
    return [(stack, decoding.slices(stack)) for stack in decoding.intact(stacks)]


def _from_zero(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pixels with their minimum at zero, the same array where it is there already, as in nearly all files."""
    lowest = pixels.min()
    return pixels - lowest if lowest else pixels


def _within_limit(headers: Sequence[SliceHeader], problems: list[str], *, limit: int) -> list[SliceHeader]:
    """The slices that fit what is left of the memory limit of a study; the largest are dropped first."""
    total, too_many = 0, set()
    for header in sorted(headers, key=lambda header: math.prod(header.plane.shape)):
        total += math.prod(header.plane.shape)
        if total > limit:
            too_many.add(header)
    for path in dict.fromkeys(header.path for header in headers if header in too_many):
        problems.append(str(refusal(path, f"left out, the study has more than {STUDY_LIMIT} pixels")))
    return [header for header in headers if header not in too_many]


def _decode(headers: Sequence[SliceHeader], problems: list[str]) -> dict[SliceHeader, NDArray[np.float32]]:
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
