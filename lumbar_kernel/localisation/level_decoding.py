"""Joint decoding of the five levels: the evidence of all slices in mm, one most plausible row of discs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.localisation.slice_maps import SliceMaps
from lumbar_kernel.schema import LEVELS

CELL_MM = 2.0
"""Cell size of the sagittal grid on which the evidence of all slices is summed."""

MIN_MASS = 1e-3
"""Heatmap cells below this probability are ignored."""

STEP_MM, STEP_SPREAD_MM = 33.0, 6.0
"""Distance of neighbouring posterior disc margins and its spread between people and levels."""

STEP_LIMITS_MM = (16.0, 62.0)
TURN_SPREAD_DEGREES = 25.0
"""Spread of the angle between a step and the patient's axis; largest in scoliosis and at L5/S1."""

FLOOR = 3e-3
"""Evidence of a place without any heatmap, relative to the strongest place, so that a hidden level can be bridged."""

LEAK = 0.05
"""Fraction of a neighbouring level's evidence that counts for a level, so that a miscounted slice still contributes."""

REACH_MM = 8.0
"""Evidence within this distance of a disc belongs to that disc."""

MIN_TOTAL_EVIDENCE, MIN_LEVEL_EVIDENCE = 0.2, 0.1
"""Summed probability from which any disc counts as seen, and one of a level; a level with less is placed by others'."""

MAX_LEAN_DEGREES = 80.0
"""Largest angle between a step and the patient's axis."""

CANDIDATES = 24
"""Most peaks of the evidence that are tried as places of a disc."""

MAX_BRIDGED = len(LEVELS) - 1
"""Largest number of consecutive hidden levels."""

NEAR_PEAK_MM = 4.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """The heatmap cells with a relevant probability, per level.

    Attributes:
        points: per level (n, 3) mm LPS.
        mass: per level (n,) probability.
    """

    points: tuple[FloatArray, ...]
    mass: tuple[FloatArray, ...]


def gather(slices: Sequence[SliceMaps], *, channels: Iterable[int]) -> Evidence:
    """The relevant cells of all slices in patient mm, one entry per channel."""
    points, mass = [], []
    for channel in channels:
        found = [np.empty((0, 3))]
        weights = [np.empty(0)]
        for item in slices:
            rows, columns = np.nonzero(item.maps[channel] > MIN_MASS)
            found.append(item.cell_centres(rows, columns))
            weights.append(item.maps[channel][rows, columns].astype(np.float64))
        points.append(np.concatenate(found))
        mass.append(np.concatenate(weights))
    return Evidence(points=tuple(points), mass=tuple(mass))


def decode_levels(evidence: Evidence) -> tuple[FloatArray, FloatArray]:
    """The most plausible row of five discs.

    Returns:
        Posterior margins (5, 3) mm LPS, L1/L2 first, and for each the fraction of its level's evidence within 8 mm of
        the chosen place (5,), lower where no slice had a high probability.

    Raises:
        LocalisationError: when no slice shows any disc.
    """
    if sum(mass.sum() for mass in evidence.mass) < MIN_TOTAL_EVIDENCE:
        msg = "no sagittal slice shows a lumbar disc"
        raise LocalisationError(msg)
    grids, corner = _lay_out(evidence)
    candidates = _candidates(grids.sum(axis=0))
    places = corner + CELL_MM * candidates  # posterior and cranial mm of each candidate
    unary = _unary(grids, candidates)
    chosen = _best_path(unary, _pairwise(places))
    return _refine(evidence, places[chosen])


def _lay_out(evidence: Evidence) -> tuple[FloatArray, FloatArray]:
    """Evidence as (levels, posterior, cranial) grids of `CELL_MM`, smoothed, and the grid's first corner in mm."""
    everything = np.concatenate(evidence.points)[:, 1:]
    margin = MAX_BRIDGED * STEP_MM + 10.0  # room for bridged levels beyond all evidence
    corner = np.floor((everything.min(axis=0) - margin) / CELL_MM) * CELL_MM
    shape = np.ceil((everything.max(axis=0) + margin - corner) / CELL_MM).astype(int) + 1
    grids = np.zeros((len(evidence.points), *shape))
    for grid, points, mass in zip(grids, evidence.points, evidence.mass, strict=True):
        cells = np.rint((points[:, 1:] - corner) / CELL_MM).astype(int)
        np.add.at(grid, (cells[:, 0], cells[:, 1]), mass)
    return np.stack([cv2.GaussianBlur(grid, (0, 0), 1.5) for grid in grids]), corner


def _candidates(total: FloatArray) -> NDArray[np.intp]:
    """Candidate cells: peaks of the summed evidence, and usual steps above and below each of them.

    There are as many steps as levels to bridge: even if only one disc is visible, the others get a place.
    """
    peaks = (total == cv2.dilate(total, np.ones((5, 5)))) & (total > FLOOR * total.max())
    cells = np.argwhere(peaks)
    cells = cells[np.argsort(-total[cells[:, 0], cells[:, 1]], kind="stable")][:CANDIDATES]
    steps = [np.array([0, round(k * STEP_MM / CELL_MM)]) for k in range(-MAX_BRIDGED, MAX_BRIDGED + 1) if k]
    bridges = np.concatenate([cells + step for step in steps])
    inside = np.all((bridges >= 0) & (bridges < total.shape), axis=1)
    # A nearby peak is a better candidate than a usual step.
    apart = np.linalg.norm(bridges[:, None] - cells[None], axis=2).min(axis=1) * CELL_MM > NEAR_PEAK_MM
    return np.concatenate([cells, np.unique(bridges[inside & apart], axis=0)])


def _unary(grids: FloatArray, cells: NDArray[np.intp]) -> FloatArray:
    """Log-evidence of each candidate for each level, (levels, candidates)."""
    evidence = grids[:, cells[:, 0], cells[:, 1]]
    leaked = evidence.copy()
    leaked[1:] += LEAK * evidence[:-1]
    leaked[:-1] += LEAK * evidence[1:]
    return np.asarray(np.log(FLOOR + leaked / evidence.max()))


def _pairwise(places: FloatArray) -> FloatArray:
    """Log-plausibility of stepping from candidate i down to candidate j, (candidates, candidates)."""
    step = places[None] - places[:, None]
    length = np.linalg.norm(step, axis=2)
    lean = np.degrees(np.arctan2(np.abs(step[:, :, 0]), -step[:, :, 1]))
    score = -0.5 * ((length - STEP_MM) / STEP_SPREAD_MM) ** 2 - 0.5 * (lean / TURN_SPREAD_DEGREES) ** 2
    low, high = STEP_LIMITS_MM
    plausible: FloatArray = np.where((length < low) | (length > high) | (lean > MAX_LEAN_DEGREES), -1e6, score)
    return plausible


def _best_path(unary: FloatArray, pairwise: FloatArray) -> NDArray[np.intp]:
    """Viterbi algorithm: the candidate of each level on the best path."""
    score, back = unary[0], []
    for level in range(1, len(unary)):
        through = score[:, None] + pairwise
        back.append(through.argmax(axis=0))
        score = through.max(axis=0) + unary[level]
    if score.max() < -1e5:
        msg = "no five discs in a plausible row were found"
        raise LocalisationError(msg)
    path = [int(score.argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return np.array(path[::-1])


def _refine(evidence: Evidence, places: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centre of the evidence around each place, with its lateral position; hidden levels are interpolated."""
    margin, confidence = np.full((len(places), 3), np.nan), np.zeros(len(places))
    everything, all_mass = np.concatenate(evidence.points), np.concatenate(evidence.mass)
    for level, place in enumerate(places):
        points, mass = evidence.points[level], evidence.mass[level]
        near = np.linalg.norm(points[:, 1:] - place, axis=1) < REACH_MM
        found = mass[near].sum()
        confidence[level] = found / max(mass.sum(), 1.0)
        if found < MIN_LEVEL_EVIDENCE:  # evidence for another level still locates this disc
            near = np.linalg.norm(everything[:, 1:] - place, axis=1) < REACH_MM
            points, mass, found = everything, all_mass, all_mass[near].sum()
        if found >= MIN_LEVEL_EVIDENCE:
            margin[level] = mass[near] @ points[near] / found
    return _fill(margin, places), confidence


def _fill(margin: FloatArray, places: FloatArray) -> FloatArray:
    """Hidden levels take their place from the decoded path and their lateral position from the visible levels."""
    seen = ~np.isnan(margin[:, 0])
    levels = np.arange(len(margin))
    if not seen.any():
        msg = "no decoded disc has any evidence"
        raise LocalisationError(msg)
    filled = margin.copy()
    filled[~seen, 0] = np.interp(levels[~seen], levels[seen], margin[seen, 0])
    filled[~seen, 1:] = places[~seen]
    return filled
