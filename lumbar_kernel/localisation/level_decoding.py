"""Joint decoding of the five levels: evidence of all slices in mm, one best chain of plausible discs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import LocalisationError

CELL_MM = 2.0
"""Cell of the sagittal grid on which evidence of all slices is added up."""

SMALLEST_MASS = 1e-3
"""Heatmap cells below this probability are ignored."""

STEP_MM, STEP_SPREAD_MM = 33.0, 6.0
"""Distance of neighbouring posterior disc margins and its spread between people and levels."""

STEP_LIMITS_MM = (16.0, 62.0)
TURN_SPREAD_DEGREES = 25.0
"""How far a step leans from the patient's axis; scoliosis and L5/S1 lean most."""

FLOOR = 3e-3
"""Evidence of a place that nobody pointed at, relative to the strongest place: lets a hidden level be bridged."""

LEAK = 0.05
"""Share of a neighbouring level's evidence that counts for a level, so that a miscounted slice still helps."""

REACH_MM = 8.0
"""Evidence so near a disc's place belongs to that disc."""

CANDIDATES = 24

MOST_BRIDGED = 4
"""Levels that may be hidden in a row."""

NEAR_PEAK_MM = 4.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """Every heatmap cell that says something, per level.

    Attributes:
        points: per level (n, 3) mm LPS.
        mass: per level (n,) probability.
    """

    points: tuple[FloatArray, ...]
    mass: tuple[FloatArray, ...]


class Maps(Protocol):
    """Maps of one slice that know where their cells lie (`localise.SliceMaps`)."""

    @property
    def maps(self) -> NDArray[np.float32]:
        """(landmarks, rows, columns) probabilities."""

    def cell_centres(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        """(n, 3) mm LPS."""


def gather(slices: Sequence[Maps], *, channels: Iterable[int]) -> Evidence:
    """The telling cells of all slices in patient mm, one entry per channel."""
    points, mass = [], []
    for channel in channels:
        found = [np.empty((0, 3))]
        weights = [np.empty(0)]
        for item in slices:
            rows, columns = np.nonzero(item.maps[channel] > SMALLEST_MASS)
            found.append(item.cell_centres(rows, columns))
            weights.append(item.maps[channel][rows, columns].astype(np.float64))
        points.append(np.concatenate(found))
        mass.append(np.concatenate(weights))
    return Evidence(points=tuple(points), mass=tuple(mass))


def decode_levels(evidence: Evidence) -> tuple[FloatArray, FloatArray]:
    """The most plausible five discs.

    Returns:
        Posterior margins (5, 3) mm LPS, L1/L2 first, and their confidence (5,): the share of a level's evidence
        within 8 mm of the place chosen, less where no slice was sure of it.

    Raises:
        LocalisationError: when no slice shows any disc.
    """
    if sum(mass.sum() for mass in evidence.mass) < 0.2:
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
    margin = MOST_BRIDGED * STEP_MM + 10.0  # so that bridged levels may lie beyond all evidence
    corner = np.floor((everything.min(axis=0) - margin) / CELL_MM) * CELL_MM
    shape = np.ceil((everything.max(axis=0) + margin - corner) / CELL_MM).astype(int) + 1
    grids = np.zeros((len(evidence.points), *shape))
    for grid, points, mass in zip(grids, evidence.points, evidence.mass, strict=True):
        cells = np.rint((points[:, 1:] - corner) / CELL_MM).astype(int)
        np.add.at(grid, (cells[:, 0], cells[:, 1]), mass)
    return np.stack([cv2.GaussianBlur(grid, (0, 0), 1.5) for grid in grids]), corner


def _candidates(total: FloatArray) -> NDArray[np.intp]:
    """Cells worth considering: peaks of the summed evidence, and usual steps above and below each of them.

    As many steps as there are levels to bridge: a slice may show a single disc, and still the others have a place.
    """
    peaks = (total == cv2.dilate(total, np.ones((5, 5)))) & (total > FLOOR * total.max())
    cells = np.argwhere(peaks)
    cells = cells[np.argsort(-total[cells[:, 0], cells[:, 1]], kind="stable")][:CANDIDATES]
    steps = [np.array([0, round(k * STEP_MM / CELL_MM)]) for k in range(-MOST_BRIDGED, MOST_BRIDGED + 1) if k]
    bridges = np.concatenate([cells + step for step in steps])
    inside = np.all((bridges >= 0) & (bridges < total.shape), axis=1)
    # Where a peak stands nearby it says better where the disc is.
    apart = np.linalg.norm(bridges[:, None] - cells[None], axis=2).min(axis=1) * CELL_MM > NEAR_PEAK_MM
    return np.concatenate([cells, np.unique(bridges[inside & apart], axis=0)])


def _unary(grids: FloatArray, cells: NDArray[np.intp]) -> FloatArray:
    """Log-evidence of each candidate for each level, (levels, candidates)."""
    said = grids[:, cells[:, 0], cells[:, 1]]
    leaked = said.copy()
    leaked[1:] += LEAK * said[:-1]
    leaked[:-1] += LEAK * said[1:]
    return np.asarray(np.log(FLOOR + leaked / said.max()))


def _pairwise(places: FloatArray) -> FloatArray:
    """Log-plausibility of stepping from candidate i down to candidate j, (candidates, candidates)."""
    step = places[None] - places[:, None]
    length = np.linalg.norm(step, axis=2)
    lean = np.degrees(np.arctan2(np.abs(step[:, :, 0]), -step[:, :, 1]))
    score = -0.5 * ((length - STEP_MM) / STEP_SPREAD_MM) ** 2 - 0.5 * (lean / TURN_SPREAD_DEGREES) ** 2
    low, high = STEP_LIMITS_MM
    plausible: FloatArray = np.where((length < low) | (length > high) | (lean > 80), -1e6, score)
    return plausible


def _best_path(unary: FloatArray, pairwise: FloatArray) -> NDArray[np.intp]:
    """Viterbi: the candidate of each level on the best chain."""
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
    """Centre of the evidence around each place, with its lateral position; hidden levels follow their neighbours."""
    margin, confidence = np.full((len(places), 3), np.nan), np.zeros(len(places))
    everything, all_mass = np.concatenate(evidence.points), np.concatenate(evidence.mass)
    for level, place in enumerate(places):
        points, mass = evidence.points[level], evidence.mass[level]
        near = np.linalg.norm(points[:, 1:] - place, axis=1) < REACH_MM
        found = mass[near].sum()
        confidence[level] = found / max(mass.sum(), 1.0)
        if found < 0.1:  # another level's evidence still says where this disc lies
            near = np.linalg.norm(everything[:, 1:] - place, axis=1) < REACH_MM
            points, mass, found = everything, all_mass, all_mass[near].sum()
        if found >= 0.1:
            margin[level] = mass[near] @ points[near] / found
    return _fill(margin, places), confidence


def _fill(margin: FloatArray, places: FloatArray) -> FloatArray:
    """Hidden levels take their place from the chain and their lateral position from the levels that were seen."""
    seen = ~np.isnan(margin[:, 0])
    levels = np.arange(len(margin))
    if not seen.any():
        msg = "the chain of discs rests on no evidence"
        raise LocalisationError(msg)
    filled = margin.copy()
    filled[~seen, 0] = np.interp(levels[~seen], levels[seen], margin[seen, 0])
    filled[~seen, 1:] = places[~seen]
    return filled
