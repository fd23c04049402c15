"""Acquires series from a painted spine in its body: partial volume and texture, then the scanner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.arrays import Float32Array, FloatArray
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import Anatomy
from lumbar_kernel.phantom.artefacts import bent, crossed, folded, ramp, widened
from lumbar_kernel.phantom.background import Body
from lumbar_kernel.phantom.contrast import Complex64Array, Protocol, signals
from lumbar_kernel.phantom.frame import SpineFrame
from lumbar_kernel.phantom.grid import Grid
from lumbar_kernel.phantom.planes import Prescription, stack_of
from lumbar_kernel.phantom.scanner import Scanner
from lumbar_kernel.phantom.texture import Texture
from lumbar_kernel.study import Series, Slice

GRAIN = (3.0, 3.0, 3.0)
FLOW = (0.4, 0.5, 0.2)
"""Nodes of the texture per mm for the grain of all tissues and for moving CSF."""

GAPS_SHARE, UNORDERED_SHARE = 0.15, 0.03
"""Of series whose instance numbers leave numbers out, or do not follow the places of the slices."""

RISING_SHARE = 0.64
"""Of the other series, those numbered in the order of the prescription."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A painted spine in its body.

    Attributes:
        anatomy, frame, body, texture: what is painted.
        grid: the spine's tissues; the outermost voxels are OUTSIDE.
    """

    anatomy: Anatomy
    frame: SpineFrame
    body: Body
    texture: Texture
    grid: Grid

    @cached_property
    def outline(self) -> FloatArray:
        """Points on the edges of the painted spine, (n, 3) patient mm."""
        s = np.arange(self.grid.s[0], self.grid.s[-1], 12)
        return self.frame.to_patient(np.array([[u, v, k] for u in (-48, 48) for v in (-48, 60) for k in s]))


def _core(scene: Scene, plane: SlicePlane) -> tuple[slice, slice]:
    """The part of a plane's frame that can hold spine."""
    points = scene.outline
    near = np.abs(plane.distance(points)) < 40 if abs(plane.normal[2]) > 0.6 else np.ones(len(points), dtype=bool)
    pixels = plane.to_pixel(points[near] if near.any() else points)
    low = np.clip(np.floor(pixels.min(axis=0)).astype(int), 0, np.array(plane.shape) - 1)
    high = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + 1, low + 1, plane.shape)
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def _coordinates(
    scene: Scene, plane: SlicePlane, window: tuple[slice, slice], offset: FloatArray
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Spine coordinates at the pixels of a window of a plane that is shifted by `offset` mm."""
    rows, columns = window
    row_step, column_step = plane.column_direction * plane.row_spacing, plane.row_direction * plane.column_spacing
    origin = plane.origin + offset + rows.start * row_step + columns.start * column_step
    return scene.frame.to_spine(origin, row_step, column_step, (rows.stop - rows.start, columns.stop - columns.start))


def _tissues(
    scene: Scene, coordinates: tuple[Float32Array, ...], jitter: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """Spine tissues at points moved by `jitter` mm; above the painted part its upper vertebrae repeat."""
    grid, (u, v, s) = scene.grid, coordinates
    period = float(scene.frame.body_s[0] - scene.frame.body_s[2])
    top = float(scene.frame.body_s[0])
    if s.size and float(s.max()) > top:
        s = np.where(s > top, s - np.float32(period) * np.ceil((s - np.float32(top)) / np.float32(period)), s)
    step = np.float32(1 / (grid.u[1] - grid.u[0]))
    index = np.zeros(u.shape, dtype=np.int32)
    for axis, values, moved in zip((grid.u, grid.v, grid.s), (u, v, s), jitter, strict=True):
        start = np.float32(0.5 + (moved - float(axis[0])) * float(step))
        place = np.clip(values * step + start, 0, len(axis) - 1).astype(np.int32)
        index = index * len(axis) + place
    ids: NDArray[np.uint8] = grid.ids.ravel().take(index, mode="wrap")  # no check of bounds: twice as fast
    return ids


def _drawn(
    scene: Scene, plane: SlicePlane, table: Complex64Array, protocol: Protocol, flow: float
) -> tuple[Float32Array, Float32Array]:
    """Signal of water and of fat at the pixels of one slice: four samples per pixel over two sub-slices."""
    whole = slice(0, plane.shape[0]), slice(0, plane.shape[1])
    here = _coordinates(scene, plane, whole, np.zeros(3))
    image = scene.body.signal(here, plane, table, scene.texture)
    window = _core(scene, plane)
    shape = tuple(part.stop - part.start for part in window)
    spine, share, fluid = np.zeros(shape, np.complex64), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    screwed, metal = bool(scene.anatomy.screws.any()), np.zeros(plane.shape, np.float32)
    quarter, axial = 0.25 * plane.row_spacing, protocol.role == schema.AXIAL_T2
    for through in (1, -1):
        deep = _coordinates(scene, plane, window, through * 0.25 * protocol.thickness * plane.normal)
        for sign in (1, -1):  # within the pixel, along the two spine axes that the slice shows
            one, other = sign * quarter, sign * through * quarter
            ids = _tissues(scene, deep, (one, other, 0.0) if axial else (0.0, one, other))
            spine += table[ids]
            share += ids != tissue.OUTSIDE
            fluid += ids == tissue.CSF
            if screwed:
                metal[window] += 0.25 * (ids == tissue.METAL)
    if flow:
        u, v, s = (x[window] for x in here)
        spine *= 1 - 0.25 * np.float32(flow) * fluid * np.clip(scene.texture.at(u, v, s, FLOW) - 0.3, 0, 1)
    image[window] = image[window] * (1 - share / 4) + spine / 4
    grain = scene.texture.at(*here, GRAIN)
    image *= 1 + np.float32(0.055) * grain
    water, lipid = image.real.copy(), image.imag.copy()
    if metal.any():
        water, lipid = bent((water, lipid), metal, pixel=plane.row_spacing, upright=protocol.readout_rows)
    return water, lipid


def acquire(
    scene: Scene, plan: Prescription, protocol: Protocol, series_id: str, rng: np.random.Generator
) -> tuple[Series, Protocol]:
    """One series of a scene; slices in the order of the prescription, numbered either way.

    Returns:
        The series, and its protocol with the prescription's step and thickness.
    """
    axial = protocol.role == schema.AXIAL_T2
    protocol = replace(protocol, step=plan.step, thickness=plan.thickness)
    stack = stack_of(plan, rng, finest=0.56 if axial else 0.66)
    table, scanner = signals(scene.anatomy, protocol, rng), Scanner.draw(rng, protocol)
    flow = float(rng.beta(2, 3)) if protocol.role != schema.SAGITTAL_T1 and rng.random() < 0.5 else 0.0
    count, axis, slices = len(stack.native), protocol.phase_axis, []
    beyond = round(scanner.wrap * stack.drawn[0].shape[axis])
    for native, drawn, number in zip(stack.native, stack.drawn, _numbers(count, rng), strict=True):
        field = widened(drawn, beyond, axis=axis) if beyond else drawn
        water, fat = _drawn(scene, field, table, protocol, flow)
        gain = scanner.gain(field, scene.frame)
        if axial and scanner.crossing < 1:
            gain = gain * crossed(field, stack.drawn, thickness=plan.thickness, left=scanner.crossing)
        water, fat = water * gain, fat * gain
        if scanner.returned is not None:
            fat = fat * ramp(fat.shape, *scanner.returned)
        if beyond:
            water, fat = folded(water, beyond, axis=axis), folded(fat, beyond, axis=axis)
        pixels = scanner.measure(water, fat, protocol=protocol, acquired=stack.acquired, shape=native.shape, rng=rng)
        slices.append(Slice(native, pixels.astype(np.float32), number))
    return Series(series_id, protocol.role, tuple(slices)), protocol


def _numbers(count: int, rng: np.random.Generator) -> list[int]:
    """InstanceNumber of each slice: rising or falling, some series with gaps, a few in no order of places."""
    numbers = np.arange(1, count + 1)
    if rng.random() < GAPS_SHARE:
        numbers = numbers + np.cumsum(rng.random(count) < 0.15)
    if rng.random() < UNORDERED_SHARE:
        numbers = rng.permutation(numbers)
    elif rng.random() >= RISING_SHARE:
        numbers = numbers[::-1]
    return [int(number) for number in numbers]
