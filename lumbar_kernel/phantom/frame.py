"""The curved frame of a spine: (left, behind the posterior wall, along the spine) ↔ patient mm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import Float32Array, FloatArray
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom.anatomy import FIRST_DISC, FIRST_FUSED, Anatomy

AnyArray = NDArray[Any]

TABLE_STEP = 2.0
"""mm between the nodes of the table that unbends the sagittal plane."""

TABLE_Y = (-210.0, 140.0)
TABLE_Z = (-250.0, 250.0)


NODE = 3.0
"""mm between the pixels at which coordinates are computed; those between are interpolated."""

TAIL = (np.array([16.0, 32.0, 50.0]), np.array([-12.0, -32.0, -55.0]))
"""Distance of the sacrum's end and the tail bone below S3, mm, and how much less than S3 they lean, degrees."""

BASE_MM = 10.0
"""Distance below the middle of S1 from which its back leans like the rest of the sacrum: the promontory is a bend."""

CLOSE_MM = 1e-6
"""Error at which the search for the place of a point ends."""

HANG = 0.6
"""The arch of a vertebra hangs below its body: mm down per mm behind the posterior wall."""


@dataclass(frozen=True, eq=False)
class SpineFrame:
    """The coordinate system of one spine.

    A point of the spine has coordinates u (patient left of the midline), v (behind the line of the posterior body
    walls) and s (upwards along that line), all mm. Sagittal curvature is exact; scoliosis with its twist, slips and
    the fine irregularity of real bodies are a displacement on top of it.

    Attributes:
        anatomy: of the patient.
        body_s: (11,) s of each body's middle, T10 to S3.
        disc_s: (10,) s of each disc's middle.
        curve_s, curve_yz, curve_tilt: the line of the posterior walls, sampled.
        rotation: (3, 3) spine axes → patient axes.
        shift: (3,) patient position of the middle of L3's posterior wall.
        table: (rows z, columns y, 2) s and v of points in the sagittal plane, float32.
    """

    anatomy: Anatomy
    body_s: FloatArray
    disc_s: FloatArray
    curve_s: FloatArray
    curve_yz: FloatArray
    curve_tilt: FloatArray
    rotation: FloatArray
    shift: FloatArray
    table: Float32Array

    @property
    def lumbar_disc_s(self) -> FloatArray:
        """(5,) s of the middles of the discs L1/L2 to L5/S1."""
        return self.disc_s[FIRST_DISC : FIRST_DISC + 5]

    def slipped(self, v: AnyArray, s: AnyArray) -> AnyArray:
        """How far the part at v (before any slip) and s has slipped forwards, mm: arches hang below their bodies."""
        a, total = self.anatomy, np.zeros_like(v + s)
        for slip, middle, height in zip(a.slip.tolist(), self.disc_s.tolist(), a.disc_height.tolist(), strict=True):
            if slip:
                stays = a.isthmic and middle == self.lumbar_disc_s[-1]
                level = s if stays else s + HANG * np.clip(v, 0, 22)
                moved = slip * np.clip((level - middle) / max(height, 6.0) + 0.5, 0, 1)
                total = total + (moved * np.clip((18 - v) / 14, 0, 1) if stays else moved)
        if a.slip.any():  # skin and belly stay where they are
            total = total * np.clip((70 - v) / 30, 0, 1) * np.clip((v + 110) / 50, 0, 1)
        return total

    def unslipped(self, v: AnyArray, s: AnyArray) -> AnyArray:
        """Where parts at v and s (broadcast) lie behind the posterior walls once slips have moved them, mm."""
        place: AnyArray = v + 0 * s
        for _ in range(20):
            place = place + 0.7 * (v - place - self.slipped(place, s))
        return place

    def displaced(self, u: AnyArray, v: AnyArray, s: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Coordinates along the straight-bodied curve → coordinates of the spine's own parts, of any shape."""
        a = self.anatomy
        amplitude, phase = a.scoliosis
        angle = s * (1 / 45.0) + phase
        sideways = amplitude * np.cos(angle)
        u, s = u - sideways, s + u * (amplitude / 45.0) * np.sin(angle)
        twist = math.radians(a.twist) * sideways
        u, v = u + twist * v, v - twist * u
        v = v + self.slipped(v, s)
        bent = []
        for axis in range(3):
            total = (u, v, s)[axis]
            for size, du, dv, ds, start in a.elastic[:, axis].tolist():  # plain floats keep single precision
                total = total + size * np.sin(du * u + dv * v + ds * s + start)
            bent.append(total)
        return bent[0], bent[1], bent[2]

    def to_patient(self, points: FloatArray) -> FloatArray:
        """Spine coordinates (..., 3) u, v, s → patient mm LPS (..., 3)."""
        wanted = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        straight, step = wanted.copy(), 0.8 if self.anatomy.slip.any() else 1.0
        for _ in range(20):
            off = wanted - np.stack(self.displaced(*straight))
            straight = straight + step * off
            if np.abs(off).max(initial=0) < CLOSE_MM:
                break
        u, v, s = straight
        tilt = np.interp(s, self.curve_s, self.curve_tilt)
        y = np.interp(s, self.curve_s, self.curve_yz[:, 0]) + v * np.cos(tilt)
        z = np.interp(s, self.curve_s, self.curve_yz[:, 1]) + v * np.sin(tilt)
        patient: FloatArray = np.stack([u, y, z], axis=-1) @ self.rotation.T + self.shift
        return patient

    @cached_property
    def front(self) -> FloatArray:
        """Fronts of the five lumbar discs along the spine's own axes, (5, 3) mm; all as deep as the body of L3."""
        spots = np.array([[0.0, -float(self.anatomy.body_depth[5]), s] for s in self.lumbar_disc_s])
        return self.along_axes(self.to_patient(spots))

    def upright(self, plane: SlicePlane, shape: tuple[int, int]) -> tuple[Float32Array, Float32Array, Float32Array]:
        """x, y, z (left, back, up along the spine's own axes, mm from L3's posterior wall) at the pixels of a slice.

        Args:
            plane: of the slice.
            shape: rows and columns of the points, spread over the whole slice.

        Returns:
            Three float32 arrays that broadcast to `shape`.
        """
        rows, columns = ((np.arange(n) + 0.5) * full / n - 0.5 for n, full in zip(shape, plane.shape, strict=True))
        return self._lattice(plane.origin, *plane.steps, rows, columns)

    def _lattice(
        self, origin: FloatArray, row_step: FloatArray, column_step: FloatArray, rows: AnyArray, columns: AnyArray
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """x, y, z along the spine's own axes of pixels (rows) × (columns), float32; origin and steps in patient mm."""
        start, down, right = self.along_axes(origin), row_step @ self.rotation, column_step @ self.rotation
        x, y, z = ((start[i] + rows[:, None] * down[i] + columns * right[i]).astype(np.float32) for i in range(3))
        return x, y, z

    def along_axes(self, points: FloatArray) -> FloatArray:
        """Patient mm (..., 3) → left, back and up along the spine's own axes, mm from L3's posterior wall."""
        turned: FloatArray = (points - self.shift) @ self.rotation
        return turned

    def direction(self, s: FloatArray) -> FloatArray:
        """Cranial unit normals of the planes across the spine at s, fitted to a disc: (...,) → (..., 3)."""
        s = np.asarray(s, dtype=np.float64)
        zero = np.zeros_like(s)
        left, right = (self.to_patient(np.stack([zero + u, zero - 12, s], axis=-1)) for u in (10, -10))
        back, front = (self.to_patient(np.stack([zero, zero + v, s], axis=-1)) for v in (-2, -26))
        normal = np.cross(left - right, back - front)
        unit: FloatArray = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
        return unit

    def to_spine(
        self, origin: FloatArray, row_step: FloatArray, column_step: FloatArray, shape: tuple[int, int]
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """u, v, s of a pixel grid, each float32 of the shape (rows, columns).

        Args:
            origin: patient mm of the first pixel.
            row_step: patient mm from one row to the next.
            column_step: patient mm from one column to the next.
            shape: rows and columns.
        """
        steps = [max(1, int(NODE / np.linalg.norm(step))) for step in (row_step, column_step)]
        # one node more than needed on each side, so that interpolation never runs into the border
        rows, columns = ((np.arange(-(-n // k) + 2) - 0.5) * k - 0.5 for n, k in zip(shape, steps, strict=True))
        x, y, z = self._lattice(origin, row_step, column_step, rows, columns)
        map_y = (y - np.float32(TABLE_Y[0])) * np.float32(1 / TABLE_STEP)
        map_z = (z - np.float32(TABLE_Z[0])) * np.float32(1 / TABLE_STEP)
        unbent = cv2.remap(self.table, map_y, map_z, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        nodes = np.stack(self.displaced(x, unbent[..., 1], unbent[..., 0]), axis=-1).astype(np.float32)
        size = len(columns) * steps[1], len(rows) * steps[0]
        inner = tuple(slice(k, k + n) for n, k in zip(shape, steps, strict=True))
        u, v, s = cv2.split(cv2.resize(nodes, size, interpolation=cv2.INTER_LINEAR)[inner])
        return u, v, s


def _stack(anatomy: Anatomy) -> tuple[FloatArray, FloatArray]:
    """Middles of bodies (11,) and discs (10,) along the spine, zero at the middle of L3."""
    top = 0.0
    bodies, discs = [], []
    for body, disc in zip(anatomy.body_height, [*anatomy.disc_height, 0.0], strict=True):
        bodies.append(top - body / 2)
        discs.append(top - body - disc / 2)
        top -= body + disc
    middle = bodies[5]
    return np.array(bodies) - middle, np.array(discs[:-1]) - middle


def _curve(anatomy: Anatomy, body_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The line of the posterior walls: s (n,), y and z (n, 2), tilt in radians (n,)."""
    s = np.arange(-220.0, 240.0, 1.0)
    base, a = FIRST_FUSED + 1, anatomy.tilt
    knots = np.concatenate([body_s[:base], [body_s[FIRST_FUSED] - BASE_MM], body_s[base:], body_s[-1] - TAIL[0]])
    lean = np.concatenate([a[:base], [a[base]], a[base:], a[-1] + TAIL[1]])
    tilt = np.radians(np.interp(s, knots[::-1], lean[::-1]))
    smooth = np.hanning(27)
    padded = np.pad(tilt, 13, mode="edge")
    tilt = np.convolve(padded, smooth / smooth.sum(), mode="valid")
    yz = np.cumsum(np.stack([-np.sin(tilt), np.cos(tilt)], axis=1), axis=0)
    zero = np.array([np.interp(0.0, s, yz[:, 0]), np.interp(0.0, s, yz[:, 1])])
    return s, yz - zero, tilt


def _unbending_table(s: FloatArray, yz: FloatArray, tilt: FloatArray) -> Float32Array:
    """Coordinates s and v on a grid of the sagittal plane: the nearest node of the curve, then one step along it."""
    y = np.arange(*TABLE_Y, TABLE_STEP, dtype=np.float32)
    z = np.arange(*TABLE_Z, TABLE_STEP, dtype=np.float32)
    nodes = slice(None, None, 4)
    curve = yz[nodes].astype(np.float32)
    squared = (z[:, None, None] - curve[:, 1]) ** 2 + (y[None, :, None] - curve[:, 0]) ** 2
    nearest = np.argmin(squared, axis=-1) * 4
    offset_y, offset_z = y[None, :] - yz[nearest, 0], z[:, None] - yz[nearest, 1]
    sine, cosine = np.sin(tilt)[nearest], np.cos(tilt)[nearest]
    along = -offset_y * sine + offset_z * cosine
    behind = offset_y * cosine + offset_z * sine
    bend = np.gradient(tilt, s)[nearest]
    along = along / np.maximum(1 + behind * bend, 0.2)
    return np.stack([s[nearest] + along, behind], axis=-1).astype(np.float32)


def build_frame(anatomy: Anatomy, rng: np.random.Generator) -> SpineFrame:
    """Place a spine in the scanner with a random small turn and shift."""
    body_s, disc_s = _stack(anatomy)
    s, yz, tilt = _curve(anatomy, body_s)
    angles = np.radians(rng.normal(0, (1.5, 2.5, 2.5)))
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    shift = rng.normal(0, (8.0, 15.0, 25.0))
    return SpineFrame(anatomy, body_s, disc_s, s, yz, tilt, rotation, shift, _unbending_table(s, yz, tilt))
