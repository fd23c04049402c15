"""Whether the series of a study share one patient position: a patient who moved between them is found and put back.

Where axial and sagittal slices cross they show the same tissue, so their signals, freed of shading, correlate. Axial
slices are moved about on the grid of each sagittal series; they belong where they correlate best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR, SlicePlane
from lumbar_kernel.grids import centred_grid, upright_grid
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.resampling import sample
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Slice, Study

GRID_MM = 3.0
"""Of the volume of sagittal signals, and of the finest moves."""

COARSE_CELLS = 2
REACH_MM = (30.0, 30.0, 42.0)
"""Largest move that is tried to the left, backwards and upwards; a level has 33 mm."""

NEAR_MM = 9.0
"""Moves up to this are what recesses are looked for anyway."""

MOVE_MARGIN, UNIQUE_MARGIN, STAY_MARGIN = 0.08, 0.05, 0.03
"""Differences of correlation: a place that is better by the first than where the slices lie, and by the second than any
other, is where they belong; where they lie is right if it is better by the third than any place far from it, as in all
of three real studies and 24 phantoms."""

MIN_SCORE = 0.18
"""Correlation below which two series say nothing about each other, as axial T2 and sagittal STIR may."""

SHADING_MM = 12.0
BRIGHT = 99
"""Percentile of the signal that counts as bright."""

REDUCED = 0.85
"""Largest pixels, in parts of the grid, that are averaged before sampling; with the blur that is left they give the
resolution that the blur of full slices gave."""

MAX_SLICES = 10
AXIAL_REACH_MM, AXIAL_STEP_MM = 48.0, 6.0
MIN_POINTS = 400
MOVES_AT_ONCE = 16
NOT_ZERO = np.float32(1e-12)


@dataclass(frozen=True, eq=False)
class Alignment:
    """A study whose series share one patient position.

    Attributes:
        study: with series moved where that is sure, and a sentence on each in its problems.
        doubtful: whether series do not fit, nor clearly elsewhere.
        moves: role → (3,) mm LPS by which its series were moved.
    """

    study: Study
    doubtful: bool
    moves: Mapping[str, FloatArray] = field(default_factory=dict)

    def confidence_in(self, landmarks: Landmarks) -> Landmarks:
        """The landmarks with the confidence that is left where the series do not fit.

        Grades stay, since doubt says little: it met two of 60 phantoms that lay still and one of 81 series that moved.
        """
        return landmarks.doubted() if self.doubtful else landmarks


_Points = tuple[FloatArray, FloatArray]
"""Patient points (n, 3) on axial slices, and the signals (n,) there."""


@dataclass(frozen=True)
class _Fit:
    """Where axial slices fit a sagittal series best.

    Attributes:
        move: to that place, mm LPS.
        gain: correlation at the best place far from where they lie, beyond that at where they lie.
        unique: correlation at the best place, beyond that of any place far from it.
    """

    move: tuple[float, float, float]
    gain: float
    unique: float

    @property
    def stays(self) -> bool:
        return self.gain <= -STAY_MARGIN

    @property
    def moves(self) -> bool:
        return self.gain >= MOVE_MARGIN and self.unique >= UNIQUE_MARGIN

    @property
    def decides(self) -> bool:
        """Whether it says where the axial slices belong."""
        return self.stays or self.moves


def align_series(study: Study) -> Alignment:
    """Put axial slices and sagittal T1 where they fit sagittal T2, if they clearly fit elsewhere than they lie."""
    slices = study.slices(AXIAL_T2)
    axial = _axial_points(slices) if len(slices) > 1 else None
    of_t1, of_t2 = (_fit(axial, study.slices(role)) for role in (SAGITTAL_T1, SAGITTAL_T2))
    fits = [fit for fit in (of_t1, of_t2) if fit]
    if all(fit.stays for fit in fits):
        return Alignment(study, doubtful=False)
    surest = of_t2 if of_t2 and of_t2.decides else max(fits, key=lambda fit: abs(fit.gain))
    moves = {AXIAL_T2: np.array(surest.move)} if surest.moves else {}
    if of_t1 and of_t2 and of_t1.decides and of_t2.decides:
        # T1 follows the axial slices to T2, from where it fits them
        back = moves.get(AXIAL_T2, np.zeros(3)) - (np.array(of_t1.move) if of_t1.moves else 0.0)
        if np.linalg.norm(back) > NEAR_MM:
            moves[SAGITTAL_T1] = back
    for role, move in moves.items():
        study = _moved(study, role, move)
    if not surest.decides:
        text = "the axial slices fit the sagittal ones neither where they lie nor clearly elsewhere, and are doubted"
        study = replace(study, problems=(*study.problems, text))
    return Alignment(study, doubtful=not surest.decides, moves=moves)


def _moved(study: Study, role: str, move: FloatArray) -> Study:
    """The study with the slices of a role moved by some mm LPS, and a sentence that says so."""
    where = ", ".join(
        f"{abs(mm):.0f} mm {words[int(mm < 0)]}" for mm, words in zip(move, _DIRECTIONS, strict=True) if abs(mm) > 1
    )
    text = f"the patient moved: {role} fits the other series {where} of where it lies, and is read there"
    moved = study.with_slices(role, lambda item: _moved_slice(item, move))
    return replace(moved, problems=(*study.problems, text))


_DIRECTIONS = (("left", "right"), ("behind", "in front"), ("above", "below"))


def _moved_slice(item: Slice, move: FloatArray) -> Slice:
    return replace(item, plane=replace(item.plane, origin=item.plane.origin + move))


def _fit(axial: _Points | None, sagittal: Sequence[Slice]) -> _Fit | None:
    """Where points on axial slices fit a sagittal series; None where the two say nothing about each other."""
    if axial is None or len(sagittal) < 3:
        return None
    points, signals = axial
    volume, corner = _volume(sagittal)
    cells = (points - corner) / GRID_MM
    reach = [round(mm / GRID_MM / COARSE_CELLS) * COARSE_CELLS for mm in REACH_MM]
    steps = [np.arange(-cell, cell + 1, COARSE_CELLS) for cell in reach]
    moves = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    scores = _correlations(volume, cells, signals, moves)
    best = int(np.argmax(scores))
    if scores[best] < MIN_SCORE:
        return None
    near, beside = (np.linalg.norm((moves - place) * GRID_MM, axis=1) <= NEAR_MM for place in (0, moves[best]))
    fine = moves[best] + np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    place = fine[int(np.argmax(_correlations(volume, cells, signals, fine)))]
    rounded = (np.rint(cells) - cells).mean(axis=0)  # whole cells were compared, which all may lie to one side
    x, y, z = (float(mm) for mm in (place + _to_peak(volume, cells, signals, place) + rounded) * GRID_MM)
    gain, unique = scores[~near].max() - scores[near].max(), scores[best] - scores[~beside].max()
    return _Fit((x, y, z), float(gain), float(unique))


def _to_peak(
    volume: NDArray[np.float32], cells: FloatArray, signals: FloatArray, place: NDArray[np.intp]
) -> FloatArray:
    """From the best of the moves to the peak between them, by a parabola along each axis, at most half a cell."""
    steps = np.concatenate([np.zeros((1, 3), int), np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    middle, *around = _correlations(volume, cells, signals, place + steps)
    after, before = np.array(around[:3]), np.array(around[3:])
    bend = np.minimum(before - 2 * middle + after, -1e-9)
    return np.asarray(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def _correlations(
    volume: NDArray[np.float32], cells: FloatArray, signals: FloatArray, moves: NDArray[np.intp]
) -> FloatArray:
    """Correlation of signals with the volume under each move, -1 where too few points lie inside."""
    margin = int(np.abs(moves).max()) + 1
    whole = np.rint(cells).astype(int)
    kept = np.all((whole >= -margin) & (whole < np.array(volume.shape) + margin), axis=1)
    padded = np.pad(np.nan_to_num(volume, nan=0.0) + NOT_ZERO * (volume == 0), 2 * margin)  # zero: nothing is known
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    base, signals = (whole[kept] + 2 * margin) @ strides, signals[kept].astype(np.float32)
    own_sums = np.stack([np.ones_like(signals), signals, signals**2], axis=1)
    flat, steps = padded.ravel(), moves @ strides
    scores = []
    for start in range(0, len(moves), MOVES_AT_ONCE):
        seen = flat.take(
            base + steps[start : start + MOVES_AT_ONCE, None], mode="wrap"
        )  # the quickest; none lies outside
        count, own, own_square = ((seen != 0).astype(np.float32) @ own_sums).T
        count = np.maximum(count, 1)
        total, product = (seen @ own_sums[:, :2]).T
        mean, own = total / count, own / count
        spread = np.einsum("ij,ij->i", seen, seen) / count - mean**2
        own_spread = own_square / count - own**2
        product = product / count - mean * own
        score = product / np.sqrt(np.maximum(spread * own_spread, 1e-12))
        scores.append(np.where(count >= MIN_POINTS, score, -1.0))
    return np.concatenate(scores).astype(np.float64)


def _axial_points(axial: Sequence[Slice]) -> _Points:
    """Patient points (n, 3) on axial slices about their middle, and the signals (n,) there."""
    chosen = [axial[round(k)] for k in np.linspace(0, len(axial) - 1, min(len(axial), MAX_SLICES))]
    count, step = round(2 * AXIAL_REACH_MM / GRID_MM) + 1, round(AXIAL_STEP_MM / GRID_MM)
    points, signals = [], []
    for item in chosen:
        grid = upright_grid(item.plane, item.plane.centre, sagittal=False, spacing=GRID_MM, shape=(count, count))
        image, places = _flattened(item, grid)[::step, ::step], grid.pixel_centres[::step, ::step]
        inside = np.isfinite(image)
        points.append(places[inside])
        signals.append(image[inside].astype(np.float64))
    return np.concatenate(points), np.concatenate(signals)


def _volume(sagittal: Sequence[Slice]) -> tuple[NDArray[np.float32], FloatArray]:
    """Signals of a sagittal series on a grid along the patient's axes, NaN where it shows nothing, and its corner."""
    centre = np.mean([item.plane.centre for item in sagittal], axis=0)
    lateral = np.array([float(item.plane.centre @ LEFT) for item in sagittal])
    height, width = np.max([item.plane.extent_mm for item in sagittal], axis=0)
    shape = (round(max(height, width) / GRID_MM), round(max(height, width) / GRID_MM))
    images = []
    for item, place in zip(sagittal, lateral, strict=True):
        middle = centre + (place - float(centre @ LEFT)) * LEFT
        grid = centred_grid(middle, down=-CRANIAL, right=POSTERIOR, spacing=GRID_MM, shape=shape)
        images.append(_flattened(item, grid))
    order = np.argsort(lateral)
    places, stack = lateral[order], np.stack(images)[order]
    wanted = np.arange(places[0], places[-1] + GRID_MM / 2, GRID_MM)
    after = np.clip(np.searchsorted(places, wanted), 1, len(places) - 1)
    share = np.clip((wanted - places[after - 1]) / np.maximum(places[after] - places[after - 1], 1e-6), 0, 1)
    share = share[:, None, None].astype(np.float32)
    rows = (1 - share) * stack[after - 1] + share * stack[after]
    # rows run downwards and columns backwards: to left, backwards, upwards
    volume = np.ascontiguousarray(np.transpose(rows, (0, 2, 1))[:, :, ::-1])
    extent = (np.array(shape) - 1) / 2 * GRID_MM
    return volume, np.array([wanted[0], float(centre @ POSTERIOR) - extent[1], float(centre @ CRANIAL) - extent[0]])


def _flattened(item: Slice, grid: SlicePlane) -> NDArray[np.float32]:
    """The logarithm of a slice's signal on a grid, free of shading and coarse structure; NaN outside its frame."""
    image: NDArray[np.float32] = sample(_reduced(item), grid)
    bright = np.partition(image.ravel(), BRIGHT * image.size // 100)[BRIGHT * image.size // 100]
    image = np.log(image + 0.03 * max(float(bright), 1e-6))
    image = image - cv2.GaussianBlur(image, (0, 0), SHADING_MM / GRID_MM)
    image[~_inside(item.plane, grid)] = np.nan
    return image


def _inside(plane: SlicePlane, grid: SlicePlane) -> NDArray[np.bool_]:
    """Which pixels of a grid (rows, columns) lie within the frame of a slice."""
    first, down, right = plane.to_pixel(grid.to_mm(np.array([[0, 0], [1, 0], [0, 1]])))
    rows, columns = np.arange(grid.shape[0])[:, None], np.arange(grid.shape[1])
    row, column = (first[k] + rows * (down[k] - first[k]) + columns * (right[k] - first[k]) for k in (0, 1))
    height, width = plane.shape
    return np.asarray((row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1))


def _reduced(item: Slice) -> Slice:
    """A slice with pixels nearly as coarse as the grid, each the mean of several: far less to blur before sampling."""
    plane = item.plane
    down, right = (max(1, int(REDUCED * GRID_MM / mm)) for mm in (plane.row_spacing, plane.column_spacing))
    rows, columns = plane.shape[0] // down, plane.shape[1] // right
    if down == right == 1 or min(rows, columns) < 1:
        return item
    pixels = cv2.resize(item.pixels[: rows * down, : columns * right], (columns, rows), interpolation=cv2.INTER_AREA)
    reduced = replace(
        plane,
        origin=plane.to_mm(np.array([(down - 1) / 2, (right - 1) / 2])),
        row_spacing=down * plane.row_spacing,
        column_spacing=right * plane.column_spacing,
        shape=(rows, columns),
    )
    return replace(item, plane=reduced, pixels=pixels)
