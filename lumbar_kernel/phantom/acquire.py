"""Acquire series from a painted spine in its body: partial volume and texture, then the scanner."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.arrays import Float32Array, FloatArray
from lumbar_kernel.geometry import Plane, SlicePlane, plane_of
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.artefacts import crossing_saturation, folded, metal_distorted, ramp, widened
from lumbar_kernel.phantom.contrast import SequenceProtocol, Tables, signals
from lumbar_kernel.phantom.frame import SpineFrame
from lumbar_kernel.phantom.painting import PaintedBody
from lumbar_kernel.phantom.prescription import Prescription, stack_of
from lumbar_kernel.phantom.scanner import Scanner
from lumbar_kernel.study import Series, Slice

GRAIN = (3.0, 3.0, 3.0)
FLOW = (0.4, 0.5, 0.2)
"""Nodes of the texture per mm for the grain of all tissues and for moving CSF."""

GAPS_SHARE, UNORDERED_SHARE = 0.15, 0.03
"""Of series whose instance numbers leave numbers out, or do not follow the places of the slices."""

RISING_SHARE = 0.64
"""Of the other series, those numbered in the order of the prescription."""


def _core(painted: PaintedBody, plane: SlicePlane) -> tuple[slice, slice]:
    """The part of a plane's frame that can hold spine."""
    points = painted.outline
    sagittal = plane_of(plane.normal) is Plane.SAGITTAL
    near = np.ones(len(points), dtype=bool) if sagittal else np.abs(plane.distance(points)) < 40
    pixels = plane.to_pixel(points[near] if near.any() else points)
    low = np.clip(np.floor(pixels.min(axis=0)).astype(int), 0, np.array(plane.shape) - 1)
    high = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + 1, low + 1, plane.shape)
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def depth_step(frame: SpineFrame, plane: SlicePlane, pixel: FloatArray, depth: float) -> FloatArray:
    """What `depth` mm along the normal of a slice are in spine coordinates at a pixel (row, column), (3,) mm."""
    step = depth * plane.normal
    u, v, s = frame.to_spine(plane.to_mm(pixel) - step, 2 * step, plane.row_direction, (2, 1))
    return np.array([0.5 * float(x[1, 0] - x[0, 0]) for x in (u, v, s)])


def _samples(painted: PaintedBody, plane: SlicePlane, window: tuple[slice, slice], thickness: float) -> FloatArray:
    """Where in a voxel its four samples lie, (4, 3) mm in spine coordinates: two in each of two sub-slices.

    A step through the slice is taken as the same all over the spine, from which it differs by about a tenth of a mm;
    within the slice samples are moved along the two spine axes that it shows.
    """
    middle = np.array([0.5 * (part.start + part.stop - 1) for part in window])
    deep, quarter = depth_step(painted.frame, plane, middle, 0.25 * thickness), 0.25 * plane.row_spacing
    within = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]]) * quarter
    moved = np.insert(within, 0 if plane_of(plane.normal) is Plane.SAGITTAL else 2, 0.0, axis=1)
    samples: FloatArray = moved + np.array([1, 1, -1, -1])[:, None] * deep
    return samples


def _tissues(painted: PaintedBody, coordinates: tuple[Float32Array, ...], jitter: FloatArray) -> NDArray[np.uint8]:
    """Spine tissues at points moved by `jitter` mm; above the painted part its upper vertebrae repeat."""
    grid, (u, v, s) = painted.grid, coordinates
    period = float(painted.frame.body_s[0] - painted.frame.body_s[2])
    top = float(painted.frame.body_s[0])
    if s.size and float(s.max()) > top:
        s = np.where(s > top, s - np.float32(period) * np.ceil((s - np.float32(top)) / np.float32(period)), s)
    step = np.float32(1 / (grid.u[1] - grid.u[0]))
    index = np.zeros(u.shape, dtype=np.int32)
    for axis, values, moved in zip((grid.u, grid.v, grid.s), (u, v, s), jitter.tolist(), strict=True):
        start = np.float32(0.5 + (moved - float(axis[0])) * float(step))
        place = np.clip(values * step + start, 0, len(axis) - 1).astype(np.int32)
        index = index * len(axis) + place
    ids: NDArray[np.uint8] = grid.ids.ravel().take(index, mode="wrap")  # no check of bounds: twice as fast
    return ids


def _drawn(
    painted: PaintedBody, plane: SlicePlane, tables: Tables, protocol: SequenceProtocol, flow: float
) -> tuple[Float32Array, Float32Array]:
    """Signal of water and of fat at the pixels of one slice: four samples per pixel over two sub-slices."""
    here = painted.frame.to_spine(plane.origin, *plane.steps, plane.shape)
    water, lipid = painted.body.signal(here, plane, tables, painted.texture)
    window = _core(painted, plane)
    u, v, s = near = here[0][window], here[1][window], here[2][window]
    wet, greasy, share, fluid = (np.zeros(near[0].shape, np.float32) for _ in range(4))
    screwed, metal = bool(painted.anatomy.screws.any()), np.zeros(plane.shape, np.float32)
    for moved in _samples(painted, plane, window, protocol.slice_thickness):
        ids = _tissues(painted, near, moved)
        wet += cv2.LUT(ids, tables.water)
        greasy += cv2.LUT(ids, tables.fat)
        share += ids != tissue.OUTSIDE
        fluid += ids == tissue.CSF
        if screwed:
            metal[window] += 0.25 * (ids == tissue.METAL)
    if flow:
        wet *= 1 - 0.25 * np.float32(flow) * fluid * np.clip(painted.texture.at(u, v, s, FLOW) - 0.3, 0, 1)
    grain = 1 + np.float32(0.055) * painted.texture.at(*here, GRAIN)
    for image, sampled in ((water, wet), (lipid, greasy)):
        image[window] = image[window] * (1 - share / 4) + sampled / 4
        image *= grain
    if metal.any():
        pixel, upright = plane.row_spacing, protocol.readout_rows
        water, lipid = metal_distorted((water, lipid), metal, pixel=pixel, upright=upright)
    return water, lipid


def acquire(
    painted: PaintedBody, plan: Prescription, protocol: SequenceProtocol, series_id: str, rng: np.random.Generator
) -> tuple[Series, SequenceProtocol]:
    """One series of a painted body; slices in the order of the prescription, numbered in either direction.

    Returns:
        The series, and its protocol with the prescription's step and thickness.
    """
    axial = protocol.role == schema.AXIAL_T2
    protocol = replace(protocol, spacing_between_slices=plan.step, slice_thickness=plan.thickness)
    finest = plan.step if protocol.volume else 0.56 if axial else 0.66
    stack = stack_of(plan, rng, finest=finest, cubic=protocol.volume)
    tables, scanner = Tables.of(signals(painted.anatomy, protocol, rng)), Scanner.draw(rng, protocol)
    flow = float(rng.beta(2, 3)) if protocol.role != schema.SAGITTAL_T1 and rng.random() < 0.5 else 0.0
    count, axis, slices = len(stack.native), protocol.phase_axis, []
    beyond = round(scanner.wrap * stack.drawn[0].shape[axis])
    for native, drawn, number in zip(stack.native, stack.drawn, _numbers(count, rng), strict=True):
        field = widened(drawn, beyond, axis=axis) if beyond else drawn
        water, fat = _drawn(painted, field, tables, protocol, flow)
        gain = scanner.gain(field, painted.frame)
        if axial and scanner.crossing_saturation < 1:
            left = scanner.crossing_saturation
            gain = gain * crossing_saturation(field, stack.drawn, thickness=plan.thickness, left=left)
        water, fat = water * gain, fat * gain * np.float32(protocol.fat_share)
        if scanner.fat_suppression_edge is not None:
            fat = fat * ramp(fat.shape, *scanner.fat_suppression_edge)
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
