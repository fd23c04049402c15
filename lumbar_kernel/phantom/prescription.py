"""Positions of the slices of each series: sagittal stacks, and axial ones in one block or one tilted block per disc."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom.frame import SpineFrame

Place = tuple[FloatArray, FloatArray, FloatArray]
"""Centre of a slice and its directions along a row and along a column, patient mm."""

OVERSAMPLING = 1.15
"""The body is drawn on so much finer a matrix than the scanner measures, so that its limit shows (Gibbs ringing)."""

MATRICES = ((256, 320, 384, 448, 512, 640), (0.10, 0.24, 0.27, 0.13, 0.20, 0.06))


@dataclass(frozen=True)
class Prescription:
    """Slice positions and field of view, which two series can share.

    Attributes:
        places: centre and directions of every slice, in order.
        fov: mm along a row.
        aspect: rows' extent over columns' extent.
        step, thickness: mm.
    """

    places: tuple[Place, ...]
    fov: float
    aspect: float
    step: float
    thickness: float


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes of one series.

    Attributes:
        native: planes as stored.
        drawn: the same planes on the matrix on which the body is drawn; first pixels coincide.
        acquired: rows and columns that the scanner really measures.
    """

    native: tuple[SlicePlane, ...]
    drawn: tuple[SlicePlane, ...]
    acquired: tuple[int, int]


def _turn(rng: np.random.Generator, degrees: float) -> FloatArray:
    """A small random rotation, (3, 3)."""
    x, y, z = np.radians(rng.normal(0, degrees, 3))
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: FloatArray = np.linalg.qr(np.eye(3) + skew)[0]
    return rotation * np.sign(np.diag(rotation))


def _spacing(rng: np.random.Generator, *, axial: bool) -> tuple[float, float]:
    """Step and thickness of a series, mm."""
    step = float(np.round(rng.uniform(3.6, 5.0) if axial else rng.uniform(3.9, 5.0), 1))
    return step, float(np.round(step * rng.uniform(0.82, 1.0), 1))


def _even(number: float) -> int:
    """The next number of samples, even and free of large prime factors, so that transforms are quick."""
    n = 2 * round(number / 2)
    while True:
        rest = n
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 2


def stack_of(plan: Prescription, rng: np.random.Generator, *, finest: float, cubic: bool = False) -> Stack:
    """Planes of a prescription with a random matrix or cubic voxels; the scanner resolves `finest` mm at best."""
    matrix = int(rng.choice(MATRICES[0], p=MATRICES[1]))
    if cubic:
        matrix = _even(plan.fov / plan.step)
    pixel = plan.fov / matrix
    shape = _even(matrix * plan.aspect), matrix
    wanted = max(rng.uniform(1.0, 1.45) * finest, pixel)
    extent = shape[0] * pixel, plan.fov
    partial = rng.uniform(0.75, 1.0)
    acquired = min(round(extent[0] / wanted * partial), shape[0]), min(round(extent[1] / wanted), shape[1])
    rows, columns = (_even(max(n * OVERSAMPLING, 0.75 * max(acquired))) for n in acquired)
    native, drawn = [], []
    for centre, right, down in plan.places:
        origin = centre - 0.5 * pixel * ((shape[1] - 1) * right + (shape[0] - 1) * down)
        plane = SlicePlane(origin, right, down, pixel, pixel, shape)
        native.append(plane)
        drawn.append(
            replace(plane, row_spacing=extent[0] / rows, column_spacing=extent[1] / columns, shape=(rows, columns))
        )
    return Stack(tuple(native), tuple(drawn), acquired)


def prescribe_sagittal(frame: SpineFrame, rng: np.random.Generator) -> Prescription:
    """A sagittal stack about the lumbar midline, slices from patient right to left."""
    count, fov = int(np.clip(round(rng.normal(15.5, 2.2)), 11, 21)), float(rng.uniform(240, 375))
    step, thickness = _spacing(rng, axial=False)
    across, behind, up = _turn(rng, 1.8) @ np.eye(3)
    middle = frame.to_patient(np.array([0.0, 0.0, rng.normal(-20, 14)])) + rng.normal(0, 2) * across
    middle = middle + (-14 + rng.normal(0, 13)) * behind
    aspect = float(rng.choice([0.85, 1.2, 1.4])) if rng.random() < 0.15 else 1.0
    if aspect > 1:
        fov = fov / aspect + 15
    offsets = (np.arange(count) - (count - 1) / 2) * step
    return Prescription(tuple((middle + k * across, behind, -up) for k in offsets), fov, aspect, step, thickness)


def prescribe_volume(frame: SpineFrame, rng: np.random.Generator) -> Prescription:
    """A sagittal volume of cubic voxels about the lumbar midline, 76 to 100 mm wide, slices from right to left."""
    step, width = float(np.round(rng.uniform(0.9, 1.0), 2)), float(rng.uniform(76, 100))
    plan = prescribe_sagittal(frame, rng)
    (first, right, down), (last, _, _) = plan.places[0], plan.places[-1]
    middle, across = 0.5 * (first + last), (last - first) / np.linalg.norm(last - first)
    count = round(width / step)
    offsets = (np.arange(count) - (count - 1) / 2) * step
    places = tuple((middle + k * across, right, down) for k in offsets)
    return Prescription(places, plan.fov, plan.aspect, step, step)


def _tilted_blocks(frame: SpineFrame, rng: np.random.Generator, step: float, discs: FloatArray) -> list[list[Place]]:
    """One block per disc, parallel to it, from the lowest disc upwards."""
    count, across = int(rng.integers(3, 7)), frame.rotation[:, 0]
    blocks = []
    for s in discs[::-1]:
        turn = _turn(rng, 2.0)
        normal, right = turn @ frame.direction(s), turn @ across
        right = right - (right @ normal) * normal
        right /= np.linalg.norm(right)
        down = np.cross(normal, right)
        centre = frame.to_patient(np.array([0.0, 2.0, s])) + rng.normal(0, 1.2) * normal
        blocks.append([(centre + (k - (count - 1) / 2) * step * normal, right, down) for k in range(count)])
    return blocks


def _straight_block(frame: SpineFrame, rng: np.random.Generator, step: float, discs: FloatArray) -> list[list[Place]]:
    """One block of parallel slices from below the lowest disc to above the highest one."""
    across, lowest = frame.rotation[:, 0], frame.lumbar_disc_s[-1]
    tilt = _turn(rng, 2.0)
    normal = tilt @ frame.direction(rng.uniform(lowest + 20, frame.lumbar_disc_s[0]))
    right = tilt @ across
    right = right - (right @ normal) * normal
    right /= np.linalg.norm(right)
    down = np.cross(normal, right)
    points = frame.to_patient(np.stack([0 * discs, 0 * discs + 2, discs], axis=1))
    middle = points[len(points) // 2]
    along = (points - middle) @ normal
    first, last = along.min() - rng.uniform(8, 18), along.max() + rng.uniform(8, 16)
    # the stack is centred on the middle of the lumbar curve, so that no end leaves the frame
    slide = 0.5 * (np.max((points - middle) @ down) + np.min((points - middle) @ down))
    return [[(middle + k * normal + slide * down, right, down) for k in np.arange(first, last, step)]]


def prescribe_axial(frame: SpineFrame, rng: np.random.Generator) -> list[Prescription]:
    """Axial series from below upwards: usually one, sometimes two or three that divide the levels among them."""
    (step, thickness), fov = _spacing(rng, axial=True), float(rng.uniform(150, 215))
    missed = int(rng.choice([0, 1, 2], p=(0.92, 0.04, 0.04)))
    plan = _tilted_blocks if rng.random() < 0.5 else _straight_block
    blocks = plan(frame, rng, step, frame.lumbar_disc_s[missed:])
    shift = rng.normal(-4, 6)
    series = int(rng.choice([1, 2, 3], p=(0.83, 0.155, 0.015)))
    if len(blocks) == 1:
        boundaries = sorted(rng.integers(4, max(len(blocks[0]) - 4, 5), series - 1).tolist())
        parts = [blocks[0][i:j] for i, j in zip([0, *boundaries], [*boundaries, len(blocks[0])], strict=True)]
    else:
        boundaries = sorted(rng.choice(np.arange(1, len(blocks)), series - 1, replace=False).tolist())
        parts = [
            [place for block in blocks[i:j] for place in block]
            for i, j in zip([0, *boundaries], [*boundaries, len(blocks)], strict=True)
        ]
    aspect = float(rng.choice([0.8, 0.9])) if rng.random() < 0.15 else 1.0
    return [
        Prescription(tuple((c + shift * down, right, down) for c, right, down in part), fov, aspect, step, thickness)
        for part in parts
        if part
    ]
