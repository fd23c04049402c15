"""Acquisition artefacts: wrap-around, motion, saturation by crossing slices, failed fat suppression, metal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from lumbar_kernel.arrays import Float32Array
from lumbar_kernel.geometry import SlicePlane

COARSE = 4
"""Pixels between the places at which crossing slices are looked up."""


def widened(plane: SlicePlane, pixels: int, *, axis: int) -> SlicePlane:
    """A plane enlarged by so many pixels at both ends of an axis (0 rows, 1 columns), beyond a small field of view."""
    step = plane.steps[axis]
    rows, columns = plane.shape
    shape = (rows, columns + 2 * pixels) if axis else (rows + 2 * pixels, columns)
    return replace(plane, origin=plane.origin - pixels * step, shape=shape)


def folded(image: Float32Array, pixels: int, *, axis: int) -> Float32Array:
    """A widened image folded into its small field of view: what is beyond one end appears at the other."""
    parts = np.moveaxis(image, axis, 0)
    field = parts[pixels : len(parts) - pixels].copy()
    field[-pixels:] += parts[:pixels]
    field[:pixels] += parts[len(parts) - pixels :]
    return np.moveaxis(field, 0, axis)


def motion_corrupted(image: Float32Array, share: float, *, axis: int, rng: np.random.Generator) -> Float32Array:
    """An image some of whose frequencies along an axis were measured after the patient moved.

    Args:
        image: magnitudes.
        share: fraction of the frequencies.
        axis: of the phase encoding, 0 or 1.
        rng: chooses them, and the turn (1 to 2 degrees) and shift (1 to 3 pixels).
    """
    rows, columns = image.shape
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), float(rng.uniform(1, 2) * rng.choice([-1, 1])), 1.0)
    turn[:, 2] += rng.uniform(1, 3, 2) * rng.choice([-1, 1], 2)
    after = cv2.warpAffine(image, turn, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    spectrum, other = np.fft.fft2(image), np.fft.fft2(after)
    lines = (image.shape[0], 1) if axis == 0 else (1, image.shape[1])
    where = rng.random(lines) < share
    mixed: Float32Array = np.abs(np.fft.ifft2(np.where(where, other, spectrum))).astype(np.float32)
    return mixed


def crossing_saturation(
    plane: SlicePlane, others: Sequence[SlicePlane], *, thickness: float, left: float
) -> Float32Array:
    """Fraction of a slice's signal that remains where other slices cross it: `left` inside them, 1 elsewhere.

    Only slices that are tilted against this one count: those of its own block are parallel to it.
    """
    rows, columns = plane.shape
    down, right = (np.arange(0, n, COARSE, dtype=np.float32)[:, None] for n in (rows, columns))
    kept = np.ones((len(down), len(right)), dtype=np.float32)
    row_step, column_step = plane.steps
    for other in others:
        if abs(float(other.normal @ plane.normal)) > 0.999:
            continue
        start = float((plane.origin - other.origin) @ other.normal)
        distance = start + down * float(row_step @ other.normal) + (right * float(column_step @ other.normal)).T
        kept[np.abs(distance) < thickness / 2] = left
    resized: Float32Array = cv2.resize(kept, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return resized


def ramp(shape: tuple[int, int], direction: float, place: float) -> Float32Array:
    """A smooth step from 0 to 1 across a frame: direction in radians, place from -0.5 to 0.5 of the frame."""
    down, right = (np.linspace(-0.5, 0.5, n, dtype=np.float32) for n in shape)
    along = down[:, None] * np.float32(np.sin(direction)) + right * np.float32(np.cos(direction))
    return np.asarray(1 / (1 + np.exp(-(along - np.float32(place)) * 12)), dtype=np.float32)


def metal_distorted(
    images: Sequence[Float32Array], metal: Float32Array, *, pixel: float, upright: bool
) -> list[Float32Array]:
    """Images around metal: a void larger than the metal, signal shifted along the readout and piled up at the rim.

    Args:
        images: signals of one slice.
        metal: fraction of metal at each pixel.
        pixel: mm.
        upright: whether the readout runs from row to row.
    """
    axis = 0 if upright else 1
    field = cv2.GaussianBlur(metal, (0, 0), 4.0 / pixel)
    slope = np.gradient(field, axis=axis).astype(np.float32) * np.float32(60 / pixel)
    places = np.indices(metal.shape, dtype=np.float32)
    places[axis] += slope
    piled = 1 + np.clip(np.gradient(slope, axis=axis), -0.6, 1.5)
    void = np.clip(1.2 - field / np.float32(0.12), 0, 1)
    pushed = (cv2.remap(image, places[1], places[0], cv2.INTER_LINEAR) for image in images)
    return [np.asarray(image * piled * void, dtype=np.float32) for image in pushed]
