"""Full studies with truth → examples of every kind, cut by the kernel's own code at the true landmarks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.study_truth import StudyTruth, along_the_spine
from lumbar_kernel.geometry import LEFT
from lumbar_kernel.grading.crops import Crops, cut_crops
from lumbar_kernel.grids import upright_grid
from lumbar_kernel.intensities import to_bytes
from lumbar_kernel.localisation import slice_maps
from lumbar_kernel.localisation.axial import WINDOW_SPACING_MM, AxialLevel, AxialLevels, window_of
from lumbar_kernel.localisation.landmarks import FORAMEN_LATERAL_MM, Landmarks
from lumbar_kernel.resampling import sample
from lumbar_kernel.schema import AXIAL_T2, LEVELS, ROWS, SAGITTAL_T1, SAGITTAL_T2, SIDES, row_index
from lumbar_kernel.slice_choice import axial_showing
from lumbar_kernel.study import Slice, Study
from lumbar_kernel.views import BASIC_VIEWS, CANALS, DISCS, FORAMINA, VIEWS, View, level_and_side
from training.examples import WIDER, Examples, GradeExamples, LandmarkExample, LandmarkExamples

SLICES_PER_SERIES = 5
POINTS_SHAPE = (160, 160)

SHOWN_MM, HIDDEN_MM = 4.0, 8.0
"""A slice shows a landmark within the first distance and does not beyond the second; between, it is unknown."""

KIND_OF_VIEW = {
    "sagittal_t1": "foramina",
    "sagittal_t2": "canal",
    "axial_t2": "axial",
    "sagittal_t1_fine": "foramina_fine",
    "sagittal_t2_fine": "canal_fine",
    "axial_t2_fine": "axial_fine",
}


LANDMARK_KINDS = ("sagittal", "axial_points")


def kinds(views: Iterable[str]) -> dict[str, type[Examples]]:
    """The kinds of example by the names that the training scripts use, for graders of some views."""
    landmarks: dict[str, type[Examples]] = dict.fromkeys(LANDMARK_KINDS, LandmarkExamples)
    return landmarks | {KIND_OF_VIEW[view]: GradeExamples for view in views}


@dataclass(frozen=True)
class Origin:
    """Origin of examples: patient or study, its fold, the name of the source."""

    group: str
    fold: int
    source: str


def examples_of(
    study: Study,
    truth: StudyTruth,
    origin: Origin,
    rng: np.random.Generator,
    *,
    views: Iterable[str] = BASIC_VIEWS,
) -> dict[str, Examples]:
    """All kinds of example that a study can give, by the names of `kinds`.

    Args:
        study: with the series that it has.
        truth: its landmarks and grades.
        origin: stored with every example.
        rng: chooses the sagittal slices.
        views: of the graders.
    """
    axial = true_axial_levels(study, truth)
    examples: dict[str, Examples] = {}
    if study.slices(SAGITTAL_T1) or study.slices(SAGITTAL_T2):
        examples["sagittal"] = _sagittal(study, truth, origin, rng)
    if any(view is not None for view in axial):
        examples["axial_points"] = _axial_points(axial, truth, origin)
    for view, crops in cut_crops(study, _filled(truth), axial, views=views, wider=WIDER).items():
        present = crops.present & _known(truth, VIEWS[view])
        if present.any():
            examples[KIND_OF_VIEW[view]] = _grades(crops, present, view, truth, origin)
    return examples


def _known(truth: StudyTruth, view: View) -> NDArray[np.bool_]:
    """Which crops of a view are centred on a labelled landmark."""
    labelled = {
        FORAMINA: ~np.isnan(truth.foramina[:, :, 0]),
        CANALS: ~np.isnan(truth.canal[:, :1]),
        DISCS: ~np.isnan(truth.recesses[:, :, 0]).all(axis=1, keepdims=True),
    }
    of_level = np.broadcast_to(labelled[view.centred_on], (len(LEVELS), len(SIDES)))
    return np.array([of_level[level, side or 0] for level, side in level_and_side(view)])


def _filled(truth: StudyTruth) -> Landmarks:
    """The truth in the shape that the localiser returns; unknown points follow from the others, their crops go unused.

    The size of foraminal crops is that of all foramina, so that unknown ones get a plausible height and side.
    """
    canal = along_the_spine(truth.canal)
    sides = np.array([1.0, -1.0])[None, :, None] * np.array(FORAMEN_LATERAL_MM)[:, None, None] * LEFT
    ones = np.ones(len(LEVELS))
    return Landmarks(
        disc_margin=along_the_spine(truth.disc_margin),
        canal=canal,
        disc_normal=np.nan_to_num(truth.disc_normal, nan=0.0),
        foramina=np.where(np.isnan(truth.foramina), canal[:, None] + sides, truth.foramina),
        evidence=ones,
        foramen_evidence=np.ones((len(LEVELS), len(SIDES))),
        confidence=ones,
        foramen_confidence=np.ones((len(LEVELS), len(SIDES))),
    )


def true_axial_levels(study: Study, truth: StudyTruth) -> AxialLevels:
    """The axial evidence of each level with the true recesses; an unlabelled recess mirrors the other."""
    slices = study.slices(AXIAL_T2)
    levels: list[AxialLevel | None] = []
    for level, canal in enumerate(truth.canal):
        recesses = truth.recesses[level]
        seen = not np.isnan(canal).any() and not np.isnan(recesses[:, 0]).all()
        item = axial_showing(slices, canal, normal=truth.disc_normal[level]) if seen else None
        if item is None:
            levels.append(None)
            continue
        both = np.where(np.isnan(recesses), 2 * canal - recesses[::-1], recesses)
        both[:, 1:] = np.where(np.isnan(recesses[:, 1:]), recesses[::-1, 1:], both[:, 1:])
        levels.append(AxialLevel(item, window_of(item, canal), both, np.ones(len(SIDES))))
    return tuple(levels)


def _sagittal(study: Study, truth: StudyTruth, origin: Origin, rng: np.random.Generator) -> LandmarkExamples:
    found: list[LandmarkExample] = []
    for role, name in ((SAGITTAL_T1, "t1"), (SAGITTAL_T2, "t2")):
        slices = study.slices(role)
        for index in rng.choice(len(slices), min(SLICES_PER_SERIES, len(slices)), replace=False):
            grid = slice_maps.frame_of(slices[index])
            place, known = _shown(slices[index], truth)
            picture = to_bytes(sample(slices[index], grid))
            found.append(LandmarkExample(picture, grid.to_pixel(place), known, origin.group, origin.fold, name))
    return LandmarkExamples.of(found, source=origin.source)


def _shown(item: Slice, truth: StudyTruth) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where a slice shows each landmark, (POINTS, 3) mm with NaN where it does not, and whether that is known."""
    place, known = np.full((slice_maps.POINTS, 3), np.nan), np.ones(slice_maps.POINTS, bool)
    for level in range(len(LEVELS)):
        for channel, candidates in (
            (slice_maps.MARGINS[level], truth.disc_margin[level][None]),
            (slice_maps.FORAMINA[level], truth.foramina[level]),
        ):
            distance = np.abs(item.plane.distance(candidates))
            if np.isnan(distance).any():  # an unmarked foramen may be on any slice
                known[channel] = False
                distance = np.nan_to_num(distance, nan=np.inf)
            nearest = int(distance.argmin())
            if distance[nearest] < SHOWN_MM:
                place[channel], known[channel] = candidates[nearest], True
            elif distance[nearest] < HIDDEN_MM:
                known[channel] = False
    return place, known


def _axial_points(levels: AxialLevels, truth: StudyTruth, origin: Origin) -> LandmarkExamples:
    marked, found = ~np.isnan(truth.recesses[:, :, 0]), list[LandmarkExample]()
    for level, known in zip(levels, marked, strict=True):  # the window needs both recesses, learnt is what was marked
        if level is None:
            continue
        plane, middle = level.item.plane, level.grid.centre
        grid = upright_grid(plane, middle, sagittal=False, spacing=WINDOW_SPACING_MM, shape=POINTS_SHAPE)
        picture, points = to_bytes(sample(level.item, grid)), grid.to_pixel(level.recesses)
        found.append(LandmarkExample(picture, points, known, origin.group, origin.fold, "t2"))
    return LandmarkExamples.of(found, source=origin.source)


def _grades(crops: Crops, present: NDArray[np.bool_], view: str, truth: StudyTruth, origin: Origin) -> GradeExamples:
    groups = VIEWS[view].groups
    order = [place for place, exists in zip(level_and_side(VIEWS[view]), present, strict=True) if exists]
    rows = [[row_index(group, level, side) for group in groups] for level, side in order]
    n = len(order)
    return GradeExamples(
        images=crops.images[present],
        shown=crops.shown[present],
        labels=truth.grades[np.array(rows)].astype(np.int8),
        level=np.array([level for level, _ in order], np.int8),
        row_id=np.array([[f"{origin.group}_{ROWS[row]}" for row in both] for both in rows]),
        group=np.full(n, origin.group),
        fold=np.full(n, origin.fold, np.int8),
        source=np.full(n, origin.source),
    )
