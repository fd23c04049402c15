"""Full studies with truth → examples of every kind, cut by the kernel's own code at the true landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.study_truth import StudyTruth
from lumbar_kernel.grading.crops import cut_crops
from lumbar_kernel.localisation.axial import WINDOW_SPACING_MM, AxialView, nearest_slice, window_of
from lumbar_kernel.localisation.landmarks import POINTS, Landmarks
from lumbar_kernel.localisation.slice_maps import frame_of
from lumbar_kernel.resampling import centred_grid, sample, to_bytes
from lumbar_kernel.schema import AXIAL_T2, CANAL, LEVELS, ROWS, SAGITTAL_T1, SAGITTAL_T2, row_index
from lumbar_kernel.study import Slice, Study
from lumbar_kernel.views import VIEWS, level_and_side
from training.examples import WIDER, Examples, GradeExamples, LandmarkExamples

SLICES_PER_SERIES = 5
POINTS_SHAPE = (160, 160)

SHOWN_MM, HIDDEN_MM = 4.0, 8.0
"""A slice shows a landmark within the first distance and does not beyond the second; between, it is unknown."""

KINDS = {
    "sagittal": LandmarkExamples,
    "axial_points": LandmarkExamples,
    "foramina": GradeExamples,
    "canal": GradeExamples,
    "axial": GradeExamples,
}
"""Kinds of example by the names that the training scripts use."""

KIND_OF_VIEW = {"sagittal_t1": "foramina", "sagittal_t2": "canal", "axial_t2": "axial"}


@dataclass(frozen=True)
class Origin:
    """Origin of examples: patient or study, its fold, the name of the source."""

    group: str
    fold: int
    source: str


def examples_of(study: Study, truth: StudyTruth, origin: Origin, rng: np.random.Generator) -> dict[str, Examples]:
    """All kinds of example that a study can give, by the names of `KINDS`.

    Args:
        study: with the series that it has.
        truth: its landmarks and grades.
        origin: stored with every example.
        rng: chooses the sagittal slices.
    """
    views = true_views(study, truth)
    examples: dict[str, Examples] = {}
    if study.slices(SAGITTAL_T1) or study.slices(SAGITTAL_T2):
        examples["sagittal"] = _sagittal(study, truth, origin, rng)
    if any(view is not None for view in views):
        examples["axial_points"] = _axial_points(views, origin)
    known = _known(truth)
    for view, crops in cut_crops(study, _filled(truth), views, wider=WIDER).items():
        present = crops.present & known[view]
        if present.any():
            examples[KIND_OF_VIEW[view]] = _grades(crops.images, present, view, truth, origin)
    return examples


def _known(truth: StudyTruth) -> dict[str, NDArray[np.bool_]]:
    """Which crops of each view are centred on a labelled landmark."""
    return {
        "sagittal_t1": ~np.isnan(truth.foramina[:, :, 0]).ravel(),
        "sagittal_t2": ~np.isnan(truth.canal[:, 0]),
        "axial_t2": np.repeat(~np.isnan(truth.recesses[:, :, 0]).all(axis=1), 2),
    }


def _filled(truth: StudyTruth) -> Landmarks:
    """The truth in the shape that the localiser returns; unknown points get a placeholder, their crops are dropped."""

    def filled(points: NDArray) -> NDArray:
        anywhere = np.nanmean(np.where(np.isnan(truth.canal), np.nan, truth.canal), axis=0)
        return np.where(np.isnan(points), np.nan_to_num(anywhere), points)

    ones = np.ones(len(LEVELS))
    return Landmarks(
        disc_margin=filled(truth.disc_margin),
        canal=filled(truth.canal),
        disc_normal=np.nan_to_num(truth.disc_normal, nan=0.0),
        foramina=filled(truth.foramina),
        confidence=ones,
        foramen_confidence=np.ones((len(LEVELS), 2)),
    )


def true_views(study: Study, truth: StudyTruth) -> tuple[AxialView | None, ...]:
    """The axial evidence of each level with the true recesses; an unlabelled recess mirrors the other."""
    slices = study.slices(AXIAL_T2)
    views: list[AxialView | None] = []
    for level, canal in enumerate(truth.canal):
        recesses = truth.recesses[level]
        seen = not np.isnan(canal).any() and not np.isnan(recesses[:, 0]).all()
        index = nearest_slice(slices, canal, normal=truth.disc_normal[level]) if seen else None
        if index is None:
            views.append(None)
            continue
        both = np.where(np.isnan(recesses), 2 * canal - recesses[::-1], recesses)
        both[:, 1:] = np.where(np.isnan(recesses[:, 1:]), recesses[::-1, 1:], both[:, 1:])
        views.append(AxialView(slices[index], window_of(slices[index], canal), both, np.ones(2)))
    return tuple(views)


def _sagittal(study: Study, truth: StudyTruth, origin: Origin, rng: np.random.Generator) -> LandmarkExamples:
    frames, points, known, weighting = [], [], [], []
    for role, name in ((SAGITTAL_T1, "t1"), (SAGITTAL_T2, "t2")):
        slices = study.slices(role)
        for index in rng.choice(len(slices), min(SLICES_PER_SERIES, len(slices)), replace=False):
            grid = frame_of(slices[index])
            place, is_known = _shown(slices[index], truth)
            frames.append(to_bytes(sample(slices[index], grid)))
            points.append(grid.to_pixel(place))
            known.append(is_known)
            weighting.append(name)
    return _landmarks(frames, points, known, weighting, origin)


def _shown(item: Slice, truth: StudyTruth) -> tuple[NDArray, NDArray]:
    """Where a slice shows each landmark, (POINTS, 3) mm with NaN where it does not, and whether that is known."""
    place, known = np.full((POINTS, 3), np.nan), np.ones(POINTS, bool)
    for level in range(len(LEVELS)):
        for channel, candidates in ((level, truth.disc_margin[level][None]), (5 + level, truth.foramina[level])):
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


def _axial_points(views: tuple[AxialView | None, ...], origin: Origin) -> LandmarkExamples:
    frames, points, known = [], [], []
    for view in views:
        if view is None:
            continue
        middle = view.grid.to_mm((np.array(view.grid.shape) - 1) / 2)
        grid = centred_grid(
            middle, down=view.grid.down, right=view.grid.right, spacing=WINDOW_SPACING_MM, shape=POINTS_SHAPE
        )
        frames.append(to_bytes(sample(view.item, grid)))
        points.append(grid.to_pixel(view.recesses))
        known.append(np.ones(2, bool))
    return _landmarks(frames, points, known, ["t2"] * len(frames), origin)


def _landmarks(frames: list, points: list, known: list, weighting: list[str], origin: Origin) -> LandmarkExamples:
    n = len(frames)
    return LandmarkExamples(
        images=np.stack(frames),
        points=np.stack(points).astype(np.float32),
        known=np.stack(known),
        group=np.full(n, origin.group),
        fold=np.full(n, origin.fold, np.int8),
        source=np.full(n, origin.source),
        weighting=np.array(weighting),
    )


def _grades(images: NDArray, present: NDArray, view: str, truth: StudyTruth, origin: Origin) -> GradeExamples:
    groups = VIEWS[view].groups
    order = [place for place, exists in zip(level_and_side(VIEWS[view]), present, strict=True) if exists]
    rows = [[row_index(g, level, None if g == CANAL else side) for g in groups] for level, side in order]
    n = len(order)
    return GradeExamples(
        images=images[present],
        labels=truth.grades[np.array(rows)].astype(np.int8),
        level=np.array([level for level, _ in order], np.int8),
        row_id=np.array([[f"{origin.group}_{ROWS[row]}" for row in both] for both in rows]),
        group=np.full(n, origin.group),
        fold=np.full(n, origin.fold, np.int8),
        source=np.full(n, origin.source),
    )
