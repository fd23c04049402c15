"""Acquires series from a painted spine and its body: slice planes, partial volume, coil, noise, scaling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import Anatomy
from lumbar_kernel.phantom.background import Body
from lumbar_kernel.phantom.contrast import Protocol, draw_protocol, signals
from lumbar_kernel.phantom.frame import SpineFrame
from lumbar_kernel.phantom.grid import Grid
from lumbar_kernel.study import Series, Slice

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

BACKGROUND_STEP = 2.0
"""The body is painted this many times coarser than the spine and then enlarged."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A painted spine in its body.

    Attributes:
        anatomy, frame, body: what is painted.
        grid: the spine's tissues; the outermost voxels are OUTSIDE.
    """

    anatomy: Anatomy
    frame: SpineFrame
    body: Body
    grid: Grid


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes of one series: the native ones and the coarser ones that the scanner really measured.

    Attributes:
        native: planes as stored.
        measured: the same planes at the acquired matrix.
    """

    native: tuple[SlicePlane, ...]
    measured: tuple[SlicePlane, ...]


def _turn(rng: np.random.Generator, degrees: float) -> FloatArray:
    """A small random rotation, (3, 3)."""
    x, y, z = np.radians(rng.normal(0, degrees, 3))
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: FloatArray = np.linalg.qr(np.eye(3) + skew)[0]
    return rotation * np.sign(np.diag(rotation))


def _plane(centre: FloatArray, right: FloatArray, down: FloatArray, pixel: float, shape: tuple[int, int]) -> SlicePlane:
    rows, columns = shape
    origin = centre - 0.5 * pixel * ((columns - 1) * right + (rows - 1) * down)
    return SlicePlane(origin, right, down, pixel, pixel, shape)


def _stack(
    rng: np.random.Generator,
    places: list[tuple[FloatArray, FloatArray, FloatArray]],
    fov: float,
    *,
    finest: float,
    tall: tuple[float, ...],
) -> Stack:
    """Planes for centres and in-plane directions, with one random matrix for the whole series."""
    matrix = int(rng.choice([256, 320, 384, 448, 512], p=[0.1, 0.25, 0.3, 0.15, 0.2]))
    height = float(rng.choice(tall)) if rng.random() < 0.15 else 1.0
    acquired = int(min(matrix, round(fov / max(rng.uniform(1.0, 1.35) * finest, fov / matrix))))
    shape, coarse = (round(matrix * height / 2) * 2, matrix), (round(acquired * height), acquired)
    native = tuple(_plane(c, r, d, fov / matrix, shape) for c, r, d in places)
    pixel = fov / acquired
    measured = tuple(
        replace(_plane(c, r, d, pixel, coarse), row_spacing=fov / matrix * shape[0] / coarse[0]) for c, r, d in places
    )
    centred = tuple(replace(m, origin=m.origin + n.centre - m.centre) for m, n in zip(measured, native, strict=True))
    return Stack(native, centred)


def plan_sagittal(frame: SpineFrame, protocol: Protocol, rng: np.random.Generator) -> Stack:
    """A sagittal stack about the lumbar midline, slices from patient right to left."""
    count, fov = int(rng.integers(12, 20)), float(rng.uniform(250, 335))
    basis = _turn(rng, 1.5) @ np.eye(3)
    across, behind, up = basis
    middle = frame.to_patient(np.array([0.0, 0.0, rng.normal(-22, 10)])) + rng.normal(0, 2) * across
    middle = middle + (-30 + 0.06 * (300 - fov) + rng.normal(0, 8)) * behind
    offsets = (np.arange(count) - (count - 1) / 2) * protocol.step
    return _stack(rng, [(middle + k * across, behind, -up) for k in offsets], fov, finest=0.66, tall=(0.85, 1.2, 1.4))


def plan_axial(frame: SpineFrame, protocol: Protocol, rng: np.random.Generator) -> Stack:
    """An axial stack: one straight block, or one tilted block per disc; caudal to cranial."""
    fov, discs = float(rng.uniform(165, 220)), frame.disc_s[3:8]
    across = frame.rotation[:, 0]
    places: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    if rng.random() < 0.5:
        count = int(rng.integers(4, 7))
        for s in discs[::-1]:
            turn = _turn(rng, 1.5)
            normal, right = turn @ frame.direction(s), turn @ across
            down = np.cross(normal, right)
            centre = frame.to_patient(np.array([0.0, 2.0, s])) + rng.normal(0, 1.0) * normal
            places += [(centre + (k - (count - 1) / 2) * protocol.step * normal, right, down) for k in range(count)]
    else:
        tilt = _turn(rng, 2.0)
        normal, right = tilt @ frame.direction(rng.uniform(discs[4] + 20, discs[0])), tilt @ across
        down = np.cross(normal, right)
        middle = frame.to_patient(np.array([0.0, 2.0, discs[3]]))
        ends = [float((frame.to_patient(np.array([0.0, 0.0, s])) - middle) @ normal) for s in (discs[4], discs[0])]
        drop = 0.0 if rng.random() > 0.06 else 35.0
        first, last = ends[0] - rng.uniform(8, 18), ends[1] + rng.uniform(8, 16) - drop
        places = [(middle + k * normal, right, down) for k in np.arange(first, last, protocol.step)]
        # the stack is centred on the middle of the lumbar curve, so that no end leaves the frame
        points = frame.to_patient(np.stack([0 * discs, 0 * discs + 2, discs], axis=1)) - middle
        slide = 0.5 * (np.max(points @ down) + np.min(points @ down))
        places = [(centre + slide * down, r, d) for centre, r, d in places]
    shift = rng.normal(-4, 6)
    return _stack(rng, [(c + shift * d, r, d) for c, r, d in places], fov, finest=0.56, tall=(0.8, 0.9))


def _core(scene: Scene, plane: SlicePlane) -> tuple[slice, slice]:
    """The part of a plane's frame that can hold spine."""
    grid = scene.grid
    corners = np.array([[u, v, s] for u in (-44, 44) for v in (-42, 58) for s in np.arange(grid.s[0], grid.s[-1], 12)])
    points = scene.frame.to_patient(corners)
    near = np.abs(plane.distance(points)) < 40 if abs(plane.normal[2]) > 0.6 else np.ones(len(points), dtype=bool)
    pixels = plane.to_pixel(points[near] if near.any() else points)
    low = np.clip(np.floor(pixels.min(axis=0)).astype(int), 0, np.array(plane.shape) - 1)
    high = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + 1, low + 1, plane.shape)
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def _sample(scene: Scene, plane: SlicePlane, offset: FloatArray, window: tuple[slice, slice]) -> NDArray[np.uint8]:
    """Spine tissues at the pixels of a window of a plane that is shifted by `offset` mm."""
    grid, (rows, columns) = scene.grid, window
    row_step, column_step = plane.column_direction * plane.row_spacing, plane.row_direction * plane.column_spacing
    origin = plane.origin + offset + rows.start * row_step + columns.start * column_step
    shape = rows.stop - rows.start, columns.stop - columns.start
    coordinates = scene.frame.to_spine(origin, row_step, column_step, shape)
    step = np.float32(1 / (grid.u[1] - grid.u[0]))
    index = np.zeros(shape, dtype=np.int32)
    for axis, values in zip((grid.u, grid.v, grid.s), coordinates, strict=True):
        place = np.clip((values - axis[0]) * step + np.float32(0.5), 0, len(axis) - 1).astype(np.int32)
        index = index * len(axis) + place
    ids: NDArray[np.uint8] = grid.ids.ravel().take(index)
    return ids


def _background(scene: Scene, plane: SlicePlane, table: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Signal of the body at the pixels of a plane, painted coarsely and enlarged."""
    shape = tuple(int(np.ceil(n / BACKGROUND_STEP)) for n in plane.shape)
    rows, columns = shape
    scale = plane.shape[0] / rows, plane.shape[1] / columns
    row_step = plane.column_direction * plane.row_spacing * scale[0]
    column_step = plane.row_direction * plane.column_spacing * scale[1]
    origin = plane.to_mm(np.array([(scale[0] - 1) / 2, (scale[1] - 1) / 2]))
    u, v, s = scene.frame.to_spine(origin, row_step, column_step, (rows, columns))
    ids = scene.body.ids(u, v, s)
    values = table[ids]
    streak = rng.standard_normal((rows, columns // 2), dtype=np.float32)
    streak = cv2.GaussianBlur(cv2.resize(streak, (columns, rows)), (0, 0), 1.0) * np.float32(1.6)
    fatty = np.clip((streak - 0.9 + 1.3 * scene.anatomy.fatness) * 0.8, 0, 0.75)
    muscle = (ids == tissue.MUSCLE) & (v > 0)
    values = np.where(muscle, values + fatty * (table[tissue.FAT] - values), values)
    rough = np.isin(ids, (tissue.FAT, tissue.BOWEL, tissue.KIDNEY)) & (v < 0)
    values = np.where(rough, values * (1 + 0.10 * np.clip(streak, -2, 2)), values).astype(np.float32)
    large: Float32Array = cv2.resize(values, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.maximum(large, 0)


@dataclass(frozen=True, eq=False)
class _Coil:
    """What the receiving side does to a series: shading, saturation, blur, noise, tone, scale."""

    tilt: FloatArray
    near: float
    band: float | None
    band_place: float
    blur: float
    noise: float
    gamma: float
    full: float

    @classmethod
    def draw(cls, rng: np.random.Generator, protocol: Protocol) -> _Coil:
        noise = rng.uniform(0.008, 0.03) * (1.3 if protocol.inversion is not None else 1.0)
        chance = 0.4 if protocol.role == schema.AXIAL_T2 else 0.8
        return cls(
            tilt=rng.normal(0, 0.12, 5),
            near=float(rng.uniform(0.1, 0.6)),
            band=float(rng.uniform(0.04, 0.4)) if rng.random() < chance else None,
            band_place=float(rng.uniform(14, 30)),
            blur=float(rng.uniform(0.5, 0.85)),
            noise=float(noise),
            gamma=float(np.exp(rng.normal(0, 0.1))),
            full=float(np.exp(rng.uniform(np.log(250), np.log(3000)))),
        )

    def shade(self, plane: SlicePlane, frame: SpineFrame, depth: float) -> Float32Array:
        """Gain of the coil and of the saturation band at each pixel, float32."""
        rows, columns = plane.shape
        coarse = 24
        steps = plane.column_direction * plane.extent_mm[0] / coarse, plane.row_direction * plane.extent_mm[1] / coarse
        u, v, s = frame.to_spine(plane.origin, *steps, (coarse + 1, coarse + 1))
        x, y, z = u / 100, (v - 10) / 100, (s + 20) / 130
        a, b, c, d, e = self.tilt
        gain = np.exp(a * x + (b + self.near) * y + c * z + d * x * x - abs(e) * z * z)
        if self.band is not None:
            edge = (v + depth + self.band_place) / 7.0
            gain = gain * (self.band + (1 - self.band) / (1 + np.exp(-np.clip(edge, -30, 30))))
        shaded: Float32Array = cv2.resize(gain.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
        return shaded


def _texture(rng: np.random.Generator, shape: tuple[int, int]) -> Float32Array:
    coarse = rng.standard_normal((shape[0] // 4 + 1, shape[1] // 4 + 1), dtype=np.float32)
    grain: Float32Array = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return 1 + np.float32(0.06) * grain


def _expose(
    scene: Scene,
    native: SlicePlane,
    plane: SlicePlane,
    table: Float32Array,
    thickness: float,
    coil: _Coil,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """One slice as stored integers: four samples per pixel over two sub-slices, then coil, noise and scaling."""
    image = _background(scene, plane, table, rng)
    window = _core(scene, plane)
    core = image[window]
    spine, share = np.zeros_like(core), np.zeros_like(core)
    half_row = 0.25 * plane.row_spacing * plane.column_direction
    half_column = 0.25 * plane.column_spacing * plane.row_direction
    for across, along, through in ((1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)):
        offset = across * half_column + along * half_row + through * 0.25 * thickness * plane.normal
        ids = _sample(scene, plane, offset, window)
        spine += table[ids]
        share += ids != tissue.OUTSIDE
    image[window] = core * (1 - share / 4) + spine / 4
    image *= _texture(rng, image.shape)
    image = cv2.GaussianBlur(image, (0, 0), coil.blur)
    image *= coil.shade(plane, scene.frame, float(scene.anatomy.body_depth[5]))
    one, two = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(coil.noise)
    toned = np.hypot(image + one, two) ** np.float32(coil.gamma) * np.float32(coil.full)
    stored = cv2.resize(toned, native.shape[::-1], interpolation=cv2.INTER_CUBIC)
    integers: NDArray[np.uint16] = np.clip(np.rint(stored), 0, 4095).astype(np.uint16)
    return integers


def acquire(scene: Scene, role: str, series_id: str, rng: np.random.Generator) -> tuple[Series, Protocol]:
    """One series of a scene: random protocol, planes, contrast and coil; slices sorted by position."""
    protocol = draw_protocol(rng, role)
    plan = plan_axial if role == schema.AXIAL_T2 else plan_sagittal
    stack = plan(scene.frame, protocol, rng)
    table, coil = signals(scene.anatomy, protocol, rng), _Coil.draw(rng, protocol)
    count = len(stack.native)
    numbers = range(1, count + 1) if rng.random() < 0.64 else range(count, 0, -1)
    slices = tuple(
        Slice(native, _expose(scene, native, measured, table, protocol.thickness, coil, rng).astype(np.float32), number)
        for native, measured, number in zip(stack.native, stack.measured, numbers, strict=True)
    )
    return Series(series_id, role, slices), protocol
