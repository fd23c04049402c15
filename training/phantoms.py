"""Phantoms → examples, cut by the kernel's own code at the true landmarks: `python -m training.phantoms CACHE`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lumbar_kernel.axial import WINDOW_SPACING_MM, AxialView, nearest_slice, window_of
from lumbar_kernel.crop import VIEWS, cut_crops, level_and_side
from lumbar_kernel.localise import POINTS, Landmarks, frame_of
from lumbar_kernel.phantom import PhantomStudy, PhantomTruth, make_phantom
from lumbar_kernel.sampling import centred_grid, sample
from lumbar_kernel.schema import AXIAL_T2, CANAL, LEVELS, ROWS, SAGITTAL_T1, SAGITTAL_T2, row_index
from lumbar_kernel.study import Slice
from training.examples import FOLDS, Examples, GradeExamples, LandmarkExamples, concatenate, save
from training.packs import WIDER

FIRST_SEED = 1_000_000
"""Training phantoms start here; tests and benchmarks use seeds far below."""

SLICES_PER_SERIES = 5
POINTS_SHAPE = (160, 160)

SHOWN_MM, HIDDEN_MM = 4.0, 8.0
"""A slice shows a landmark within the first distance and does not beyond the second; between, nobody says."""

OUTPUTS = {
    "phantom_sagittal": LandmarkExamples,
    "phantom_axial_points": LandmarkExamples,
    "phantom_foramina": GradeExamples,
    "phantom_canal": GradeExamples,
    "phantom_axial": GradeExamples,
}


def true_landmarks(truth: PhantomTruth) -> Landmarks:
    """The truth in the shape that the localiser returns."""
    return Landmarks(
        disc_margin=truth.disc_margin,
        canal=truth.canal,
        disc_normal=truth.disc_normal,
        foramina=truth.foramina,
        confidence=np.ones(len(LEVELS)),
        foramen_confidence=np.ones((len(LEVELS), 2)),
    )


def true_views(phantom: PhantomStudy) -> tuple[AxialView | None, ...]:
    """The axial evidence of each level with the true recesses."""
    slices, truth = phantom.study.slices(AXIAL_T2), phantom.truth
    views: list[AxialView | None] = []
    for level in range(len(LEVELS)):
        index = nearest_slice(slices, truth.canal[level], normal=truth.disc_normal[level])
        if index is None:
            views.append(None)
            continue
        item = slices[index]
        views.append(AxialView(item, window_of(item, truth.canal[level]), truth.recesses[level], np.ones(2)))
    return tuple(views)


def examples_of(seed: int) -> dict[str, Examples]:
    """All kinds of example from one phantom, as `OUTPUTS` names them."""
    rng = np.random.default_rng((seed, 1))
    phantom = make_phantom(seed, study_id=str(seed), balanced=True)
    views, landmarks = true_views(phantom), true_landmarks(phantom.truth)
    made: dict[str, Examples] = {"phantom_sagittal": _sagittal(phantom, seed, rng)}
    made["phantom_axial_points"] = _axial_points(views, seed)
    crops = cut_crops(phantom.study, landmarks, views, wider=WIDER)
    names = {"sagittal_t1": "phantom_foramina", "sagittal_t2": "phantom_canal", "axial_t2": "phantom_axial"}
    for view, name in names.items():
        if view in crops:
            present = crops[view].present
            made[name] = _grades(crops[view].images, present, VIEWS[view].groups, view, phantom.truth, seed)
    return made


def _sagittal(phantom: PhantomStudy, seed: int, rng: np.random.Generator) -> LandmarkExamples:
    frames, points, known, weighting = [], [], [], []
    for role, name in ((SAGITTAL_T1, "t1"), (SAGITTAL_T2, "t2")):
        slices = phantom.study.slices(role)
        for index in rng.choice(len(slices), min(SLICES_PER_SERIES, len(slices)), replace=False):
            grid = frame_of(slices[index])
            place, judged = _shown(slices[index], phantom.truth)
            frames.append(_bytes(sample(slices[index], grid)))
            points.append(np.where(np.isnan(place).any(axis=1)[:, None], np.nan, grid.to_pixel(place)))
            known.append(judged)
            weighting.append(name)
    return _landmarks(frames, points, known, weighting, seed)


def _shown(item: Slice, truth: PhantomTruth) -> tuple[NDArray, NDArray]:
    """Where a slice shows each landmark, (POINTS, 3) mm with NaN where it does not, and whether that is sure."""
    place, known = np.full((POINTS, 3), np.nan), np.ones(POINTS, bool)
    for level in range(len(LEVELS)):
        for channel, candidates in ((level, truth.disc_margin[level][None]), (5 + level, truth.foramina[level])):
            distance = np.abs(item.plane.distance(candidates))
            nearest = int(distance.argmin())
            if distance[nearest] < SHOWN_MM:
                place[channel] = candidates[nearest]
            known[channel] = not SHOWN_MM <= distance[nearest] < HIDDEN_MM
    return place, known


def _axial_points(views: tuple[AxialView | None, ...], seed: int) -> LandmarkExamples:
    frames, points, known = [], [], []
    for view in views:
        if view is None:
            continue
        middle = view.grid.to_mm((np.array(view.grid.shape) - 1) / 2)
        grid = centred_grid(
            middle, down=view.grid.down, right=view.grid.right, spacing=WINDOW_SPACING_MM, shape=POINTS_SHAPE
        )
        frames.append(_bytes(sample(view.item, grid)))
        points.append(grid.to_pixel(view.recesses))
        known.append(np.ones(2, bool))
    return _landmarks(frames, points, known, ["t2"] * len(frames), seed)


def _landmarks(frames: list, points: list, known: list, weighting: list[str], seed: int) -> LandmarkExamples:
    n = len(frames)
    return LandmarkExamples(
        images=np.stack(frames),
        points=np.stack(points).astype(np.float32),
        known=np.stack(known),
        group=np.full(n, f"phantom-{seed}"),
        fold=np.full(n, seed % FOLDS, np.int8),
        source=np.full(n, "phantom"),
        weighting=np.array(weighting),
    )


def _grades(
    images: NDArray, present: NDArray, groups: tuple[str, ...], view: str, truth: PhantomTruth, seed: int
) -> GradeExamples:
    order = [place for place, there in zip(level_and_side(VIEWS[view]), present, strict=True) if there]
    rows = [[row_index(g, level, None if g == CANAL else side) for g in groups] for level, side in order]
    n = len(order)
    return GradeExamples(
        images=images[present],
        labels=truth.grades[np.array(rows)].astype(np.int8),
        level=np.array([level for level, _ in order], np.int8),
        row_id=np.array([[f"{seed}_{ROWS[row]}" for row in both] for both in rows]),
        group=np.full(n, f"phantom-{seed}"),
        fold=np.full(n, seed % FOLDS, np.int8),
        source=np.full(n, "phantom"),
    )


def _bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(image, [0.5, 99.7])
    return np.clip((image - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)


def _all_examples(studies: int, workers: int) -> Iterator[dict[str, Examples]]:
    seeds = range(FIRST_SEED, FIRST_SEED + studies)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from tqdm(pool.map(examples_of, seeds, chunksize=4), total=studies, unit="study")


def main() -> None:
    """Write one npz per kind of example."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    parts: dict[str, list[Examples]] = {name: [] for name in OUTPUTS}
    for made in _all_examples(arguments.studies, arguments.workers):
        for name, examples in made.items():
            parts[name].append(examples)
    for name, several in parts.items():
        save(concatenate(several), arguments.cache / f"{name}.npz")


if __name__ == "__main__":
    main()
