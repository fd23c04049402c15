"""The posture of a spine: lean of its bodies, sideways curve and fine irregularity."""

from __future__ import annotations

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom.degeneration import (
    Degeneration,
    Patient,
)

# Degrees by which the posterior walls lean forwards, so that lines from one posterior disc margin to the next lean and
# vary, each and together, as in 166 patients of SPIDER and 391 of Sudirman (benchmarks.phantom.literature).
SACRAL_SLOPE, SLOPE_SPREAD = 29.0, 9.5

LEAN = np.array([-17.6, -16.4, -11.5, -3.0, 10.6])
"""Lean of L1 to L5 above a sacrum of the mean slope, without degenerated discs."""

LEAN_BY_SLOPE = np.array([-0.3, -0.2, -0.05, 0.2, 0.45])
"""Additional lean per degree of slope: a steep sacrum deepens the whole lordosis."""

LEAN_SPREAD, LEAN_SHARED = np.array([4.0, 4.0, 4.5, 5.5, 7.0]), 0.5
"""Their remaining spread, and its correlation from one vertebra to the next: some sacra continue the line of L5, some
are at an angle to it."""


def draw_tilt(rng: np.random.Generator, degeneration: Degeneration, transitional: str) -> FloatArray:
    """Lean of each body from the sacral slope and the lordosis between neighbours, degrees.

    Patients lie with their legs raised, which tilts the pelvis back: the slope is that of the real slices, not of
    standing people, and the curve above compensates most of the difference between one pelvis and another.
    """
    slope = float(np.clip(rng.normal(SACRAL_SLOPE, SLOPE_SPREAD), 5, 58))
    own = rng.normal(0, 1, 5)
    for upper in range(3, -1, -1):
        own[upper] = LEAN_SHARED * own[upper + 1] + np.sqrt(1 - LEAN_SHARED**2) * own[upper]
    lean = np.append(LEAN + LEAN_BY_SLOPE * (slope - SACRAL_SLOPE) + LEAN_SPREAD * own, slope)
    segment = np.maximum(np.diff(lean) - 1.5 * np.maximum(degeneration.disc, 0), -4)
    if transitional == "sacralised":
        segment[4] *= 0.45
    lumbar = slope - np.cumsum(segment[::-1])  # L5 up to L1
    thoracic = lumbar[-1] + np.array([2.5, 3.5, 4.0]) + rng.normal(0, 1.0, 3)  # T12 up to T10
    sacral = slope + (np.array([6, 16, 15]) if transitional == "lumbarised" else np.array([4, 14, 10]))
    return np.concatenate([thoracic[::-1], lumbar[::-1], sacral])


def draw_scoliosis(rng: np.random.Generator, patient: Patient) -> tuple[float, float]:
    """Amplitude in mm and phase of a sideways curve; one mm of amplitude is about 2.3 degrees of Cobb."""
    cobb = abs(rng.normal(0, 2.5))
    if rng.random() < np.interp(patient.age, (45, 60), (0.01, 0.11)):
        cobb += 10 + rng.exponential(8)
    return float(np.clip(cobb, 0, 40) / 2.3 * rng.choice([-1.0, 1.0])), float(rng.uniform(-0.6, 0.6))


def draw_irregularity(rng: np.random.Generator) -> FloatArray:
    """Fine irregularity of a spine, (2, 3, 5): amplitude, three wave numbers (per mm) and phase per axis, twice."""
    waves = rng.normal(0, 1, (2, 3, 5))
    waves[..., 0] = rng.normal(0, 0.45, (2, 3))
    waves[..., 1:4] *= np.array([1 / 14, 1 / 14, 1 / 18])
    waves[..., 4] = rng.uniform(0, 2 * np.pi, (2, 3))
    return waves
