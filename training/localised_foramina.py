"""The marked foramina of `sagittal_t1` as the kernel finds them: on the reader's slice, or on a slice of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lumbar_kernel.grading.crops import FORAMEN_STEP_MM, cut_sagittal
from lumbar_kernel.grading.ensemble import SURE
from lumbar_kernel.localisation.slice_maps import FORAMINA, SliceMaps, slice_maps
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.schema import LEVELS
from lumbar_kernel.study import Slice
from lumbar_kernel.views import VIEWS
from training.evaluation_metrics import LocatedPoints
from training.examples import GradeExamples, without_held_out
from training.fold_checkpoints import FoldCheckpoints
from training.marked_pictures import LEVEL_INDEX
from training.pack_crops import ForaminalSeries, Stack, foraminal_example, foraminal_series, stack_of
from training.single_slice import FIELD_MM, Levels, levels_of

SLICE_STEP_MM = 4.5
"""Assumed distance of neighbouring instances: the median of the challenge."""

REACH_MM = 12.0
"""Slices within this distance of the marked one take part where the kernel chooses the slice by itself."""


@dataclass(frozen=True, eq=False)
class LocalisedForamina:
    """Marked foramina as the kernel localises them.

    Attributes:
        located: distances to the marks.
        crops: at the localised points, scaled by the steps between them.
        weight: row id → share of the members, 0..1; the rest is the prior's.
    """

    located: LocatedPoints
    crops: GradeExamples
    weight: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class _Found:
    """One mark with the levels that the kernel found for it, and its stack."""

    mark: pd.Series
    levels: Levels | None
    stack: Stack


def localised_foramina(
    data: Path, checkpoints: FoldCheckpoints[HeatmapNet]
) -> tuple[LocalisedForamina, LocalisedForamina]:
    """The marked foramina on the reader's slice, and on the slice that the kernel chooses among those around it.

    Args:
        data: the folder of packs.
        checkpoints: sagittal localisers.
    """
    series = list(foraminal_series(data))
    given: list[_Found] = []
    chosen: list[_Found] = []
    for indices, nets in checkpoints.of_rows([item.marks["fold"].iloc[0] for item in series]):
        for index in indices:
            on_series = _OnSeries.of(series[index], nets)
            for _, mark in series[index].marks.iterrows():
                instance = int(mark["instance_number"])
                given.append(on_series.found(mark, [instance]))
                chosen.append(on_series.found(mark, on_series.around(instance)))
    return _collected(given), _collected(chosen)


@dataclass(frozen=True, eq=False)
class _OnSeries:
    """The slices of a series in the usual field of view, at their lateral positions, with their maps."""

    slices: Mapping[int, Slice]
    maps: Mapping[int, SliceMaps]

    @classmethod
    def of(cls, series: ForaminalSeries, nets: Sequence[HeatmapNet]) -> _OnSeries:
        slices = {instance: _in_usual_field(item, instance) for instance, item in series.slices.items()}
        return cls(slices, dict(zip(slices, slice_maps(list(slices.values()), nets), strict=True)))

    def around(self, instance: int) -> list[int]:
        """The instances within reach of one."""
        return [other for other in self.slices if abs(other - instance) * SLICE_STEP_MM <= REACH_MM]

    def found(self, mark: pd.Series, instances: Sequence[int]) -> _Found:
        """A foramen on some slices: its levels, and the stack around the slice nearest to where it lies."""
        first = self.slices[instances[0]]
        levels = levels_of([self.maps[instance] for instance in instances], first, FORAMINA)
        at, lateral, scale = np.full(2, 0.5), first.plane.origin[0], 1.0
        if levels is not None:
            level = LEVEL_INDEX[mark["level"]]
            at, lateral = levels.points[level], levels.lateral[level]
            if levels.step_mm is not None:
                scale = FORAMEN_STEP_MM / levels.step_mm
        middle = min(instances, key=lambda instance: abs(self.slices[instance].plane.origin[0] - lateral))
        view = VIEWS["sagittal_t1"]
        present = stack_of(self.slices, middle, count=view.geometry.slices)
        stack = [None if item is None else _scaled(item, scale) for item in present]
        plane = _scaled(self.slices[middle], scale).plane
        return _Found(mark, levels, cut_sagittal(stack, plane.to_mm(at * np.array(plane.shape) - 0.5), view))


def _in_usual_field(item: Slice, instance: int) -> Slice:
    """The slice in millimetres that no reader's mark had a part in, at its lateral position."""
    at_place = replace(item, plane=replace(item.plane, origin=np.array([instance * SLICE_STEP_MM, 0.0, 0.0])))
    return _scaled(at_place, FIELD_MM / max(item.plane.extent_mm))


def _scaled(item: Slice, factor: float) -> Slice:
    """The slice with larger pixels."""
    plane = item.plane
    spacing = {name: getattr(plane, name) * factor for name in ("row_spacing", "column_spacing")}
    return replace(item, plane=replace(plane, **spacing))


def _collected(found: Iterable[_Found]) -> LocalisedForamina:
    distance, right, weight, crops = [], [], {}, []
    for item in found:
        level = LEVEL_INDEX[item.mark["level"]]
        offsets, own_weight = np.full(len(LEVELS), np.inf), 0.0
        if item.levels is not None:
            offsets = np.linalg.norm(item.levels.points - item.mark[["y_rel", "x_rel"]].to_numpy(dtype=float), axis=1)
            own_weight = float(np.clip(item.levels.evidence[level] / SURE, 0, 1))
        distance.append(float(offsets[level]))
        right.append(item.levels is not None and int(offsets.argmin()) == level)
        weight[str(item.mark["row_id"])] = own_weight
        crops.append(foraminal_example(item.stack, item.mark))
    examples = GradeExamples.of(crops, source="sagittal_t1")
    located = LocatedPoints(examples.group, np.array(distance), np.array(right))
    return LocalisedForamina(located, without_held_out(examples), weight)
