"""Effects of the scanner on the signal: coil, saturation, shifted fat, limited matrix, ghosts, noise, scaling."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.arrays import Float32Array, FloatArray
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom.artefacts import motion_corrupted
from lumbar_kernel.phantom.contrast import SequenceProtocol
from lumbar_kernel.phantom.frame import SpineFrame

NOISE_BY_CONTRAST = {"physics": 1.0, "perturbed": 2.0, "random": 2.0}
"""Noise and shading by contrast, as factors."""

BAND_EDGE, BAND_STEP = 9.0, 4
"""Width, mm, of the edge of a saturation band, and pixels between the places at which it is computed."""

NOISE_BY_ROLE = {schema.SAGITTAL_T1: 0.85, schema.SAGITTAL_T2: 1.5, schema.AXIAL_T2: 1.2}
EDGE_ENHANCEMENT = {schema.SAGITTAL_T1: (0.0, 0.6), schema.SAGITTAL_T2: (0.6, 2.0), schema.AXIAL_T2: (0.4, 1.6)}
"""Noise by role, as factors, and range of the edge enhancement, so that slices resemble the available real ones
(`benchmarks.phantom.realism`)."""


@dataclass(frozen=True, eq=False)
class Scanner:
    """One series' imperfections, drawn once.

    Attributes:
        tilt: (5,) coefficients of the slow shading.
        near: how much brighter the coil makes tissue near the back.
        band: remaining signal in the saturation band in front of the spine, None without one.
        band_place, band_width: distance of the band from the bodies and its width, mm.
        band_turn: angle between the band and the line along the front of the bodies, degrees.
        taper: fraction of the measured frequencies that is filtered at the rim.
        edge_enhancement: relative gain of the highest frequency, 0 for no enhancement.
        noise: standard deviation, with the brightest tissue at one.
        ghost: strength and place (fraction of the frame) of a copy along the phase direction.
        gamma: exponent of the grey scale.
        full: stored value of the brightest tissue.
        wrap: fraction of the field by which the body exceeds it along the phase direction, 0 for none.
        motion: fraction of the frequencies measured after the patient moved.
        crossing_saturation: fraction of the signal that remains where slices of other blocks cross, 1 for no loss.
        fat_suppression_edge: direction and place of the step behind which fat suppression fails, None for none.
    """

    tilt: FloatArray
    near: float
    band: float | None
    band_place: float
    band_width: float
    band_turn: float
    taper: float
    edge_enhancement: float
    noise: float
    ghost: tuple[float, float]
    gamma: float
    full: float
    wrap: float = 0.0
    motion: float = 0.0
    crossing_saturation: float = 1.0
    fat_suppression_edge: tuple[float, float] | None = None

    @classmethod
    def draw(cls, rng: np.random.Generator, protocol: SequenceProtocol) -> Scanner:
        """Draw the imperfections of one series."""
        worse = NOISE_BY_CONTRAST[protocol.contrast]
        noise = (
            rng.uniform(0.009, 0.030)
            * NOISE_BY_ROLE[protocol.role]
            * (1.4 if protocol.inversion_time is not None else 1.0)
        )
        chance = 0.4 if protocol.role == schema.AXIAL_T2 else 0.8
        return cls(
            tilt=rng.normal(0, 0.10, 5) * worse,
            near=float(rng.uniform(0.0, 0.6)),
            band=float(rng.uniform(0.03, 0.3)) if rng.random() < chance else None,
            band_place=float(rng.uniform(2, 25)),
            band_width=float(rng.uniform(50, 140)),
            band_turn=float(rng.normal(0, 4)),
            taper=float(rng.uniform(0.1, 0.5)),
            edge_enhancement=float(rng.uniform(*EDGE_ENHANCEMENT[protocol.role])),
            noise=float(noise) * worse,
            ghost=(float(rng.uniform(0.01, 0.05)) if rng.random() < 0.35 else 0.0, float(rng.uniform(0.15, 0.85))),
            gamma=float(np.exp(rng.normal(0, 0.08 if worse == 1 else 0.35))),
            full=float(np.exp(rng.uniform(np.log(300), np.log(2600)))),
            wrap=float(rng.uniform(0.05, 0.15)) if rng.random() < 0.05 else 0.0,
            motion=float(rng.uniform(0.05, 0.2)) if rng.random() < 0.08 else 0.0,
            crossing_saturation=float(rng.uniform(0.4, 0.8)) if rng.random() < 0.5 else 1.0,
            fat_suppression_edge=(
                (float(rng.uniform(0, 6.3)), float(rng.uniform(-0.2, 0.4))) if protocol.failed_fat_suppression else None
            ),
        )

    def gain(self, plane: SlicePlane, frame: SpineFrame) -> Float32Array:
        """Gain of the coil and of the saturation band at each pixel."""
        rows, columns = plane.shape
        coarse = 24
        steps = plane.column_direction * plane.extent_mm[0] / coarse, plane.row_direction * plane.extent_mm[1] / coarse
        u, v, s = frame.to_spine(plane.origin, *steps, (coarse + 1, coarse + 1))
        x, y, z = u / 100, (v - 10) / 100, (s + 20) / 130
        a, b, c, d, e = self.tilt
        gain = np.exp(a * x + (b + self.near) * y + c * z + d * x * x - abs(e) * z * z)
        shaded: Float32Array = cv2.resize(gain.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
        if self.band is not None:
            shaded *= self._saturation(plane, frame, left=self.band)
        return shaded

    def _saturation(self, plane: SlicePlane, frame: SpineFrame, *, left: float) -> Float32Array:
        """What a straight slab in front of the bodies leaves of the signal at each pixel."""
        front = frame.front
        turn = np.arctan2(front[0, 1] - front[-1, 1], front[0, 2] - front[-1, 2]) + np.radians(self.band_turn)
        back, up = -np.cos(turn), np.sin(turn)
        edge = (front[:, 1] * back + front[:, 2] * up).max() + self.band_place
        rows, columns = plane.shape
        _, y, z = frame.upright(plane, (-(-rows // BAND_STEP), -(-columns // BAND_STEP)))
        far = y * np.float32(back) + z * np.float32(up) - np.float32(edge)
        inside = np.clip(np.minimum(far, self.band_width - far) / BAND_EDGE + 0.5, 0, 1)
        coarse = 1 - np.float32(1 - left) * inside * inside * (3 - 2 * inside)
        kept: Float32Array = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return kept

    def measure(
        self,
        water: Float32Array,
        fat: Float32Array,
        *,
        protocol: SequenceProtocol,
        acquired: tuple[int, int],
        shape: tuple[int, int],
        rng: np.random.Generator,
    ) -> NDArray[np.uint16]:
        """Signal of water and fat on the drawn matrix → stored integers of `shape`, at the acquired resolution."""
        upright = protocol.readout_rows
        shift = protocol.fat_shift * water.shape[0 if upright else 1] / acquired[0 if upright else 1]
        image, axis = water + _shifted(fat, shift, upright=upright), protocol.phase_axis
        if self.motion:
            image = motion_corrupted(image, self.motion, axis=axis, rng=rng)
        strength, place = self.ghost
        if strength:
            image = image + np.float32(strength) * np.roll(image, int(place * image.shape[axis]), axis=axis)
        noisy = rician(image, self.noise, rng)
        stored = limited(noisy, acquired, shape, taper=self.taper, edge_enhancement=self.edge_enhancement)
        toned = cv2.pow(np.maximum(stored, 0), self.gamma) * np.float32(self.full)
        integers: NDArray[np.uint16] = np.clip(np.rint(toned), 0, 4095).astype(np.uint16)
        return integers


def rician(image: Float32Array, noise: float, rng: np.random.Generator) -> Float32Array:
    """Magnitudes of an image to whose real and imaginary part Gaussian noise of this standard deviation was added.

    The noise is drawn by its power and phase: half the price of two Gaussians, and the same law.
    """
    power = rng.standard_exponential(image.shape, dtype=np.float32) * np.float32(2 * noise * noise)
    phase = rng.random(image.shape, dtype=np.float32) * np.float32(2 * np.pi)
    squared = image * image + power + 2 * image * np.sqrt(power) * np.cos(phase)
    noisy: Float32Array = np.sqrt(np.maximum(squared, 0))
    return noisy


def _shifted(image: Float32Array, pixels: float, *, upright: bool) -> Float32Array:
    across, down = (0.0, pixels) if upright else (pixels, 0.0)
    move = np.array([[1, 0, across], [0, 1, down]], dtype=np.float32)
    moved: Float32Array = cv2.warpAffine(image, move, image.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return moved


def _window(count: int, kept: int, taper: float, edge_enhancement: float) -> Float32Array:
    """Weights of `count` frequencies 0, 1, …: those below half of `kept` stay, with a soft rim (Tukey), and rise."""
    place = np.arange(count) / (kept / 2)
    rim = np.clip((place - (1 - taper)) / max(taper, 1e-6), 0, 1)
    kept_share = np.where(place <= 1, 0.5 + 0.5 * np.cos(np.pi * rim), 0.0)
    weights: Float32Array = (kept_share * (1 + edge_enhancement * place * place)).astype(np.float32)
    return weights


def limited(
    image: Float32Array,
    acquired: tuple[int, int],
    shape: tuple[int, int],
    *,
    taper: float,
    edge_enhancement: float = 0.0,
) -> Float32Array:
    """An image as a scanner that measures `acquired` frequencies shows it on a matrix of `shape` (zero filling)."""
    spectrum = np.fft.rfft2(image)
    rows, columns = min(image.shape[0], shape[0]), min(image.shape[1], shape[1])
    top, wide = (rows - 1) // 2, (columns - 1) // 2 + 1
    down, right = (
        _window(count, kept, taper, edge_enhancement) for count, kept in ((top + 1, acquired[0]), (wide, acquired[1]))
    )
    filled = np.zeros((shape[0], shape[1] // 2 + 1), dtype=np.complex64)
    filled[: top + 1, :wide] = spectrum[: top + 1, :wide] * (down[:, None] * right)
    filled[-top:, :wide] = spectrum[-top:, :wide] * (down[:0:-1, None] * right)
    scale = np.float32(shape[0] * shape[1] / image.size)
    shown: Float32Array = (np.fft.irfft2(filled, s=shape) * scale).astype(np.float32)
    return shown
