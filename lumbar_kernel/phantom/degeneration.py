"""Degeneration of one patient: a latent amount per disc and joint, then the findings that it causes and surgery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray

DISC_OFFSET = np.array([-0.45, -0.30, 0.0, 0.45, 0.40])
FACET_OFFSET = np.array([-0.4, -0.2, 0.0, 0.35, -0.05])
HERNIATION_FACTOR = np.array([0.6, 0.8, 1.15, 2.1, 2.0])
SLIP_CHANCE = np.array([0.0, 0.01, 0.03, 0.10, 0.03])
MODIC_OFFSET = np.array([-0.6, -0.5, -0.2, 0.5, 0.6])
SCHMORL_CHANCE = np.array([0.10, 0.10, 0.07, 0.05, 0.02])

SITES = (0.0, 7.5, 15.0, 21.0)
"""Sideways places of herniations, mm: central, subarticular, foraminal, extraforaminal."""


@dataclass(frozen=True)
class Patient:
    """The patient: age in years, body mass index in kg/m², size as a factor of bone lengths."""

    female: bool
    age: float
    body_mass_index: float
    size: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Patient:
        """A patient from the population that gets lumbar scans."""
        female = bool(rng.random() < 0.55)
        height = rng.normal(162, 6.5) if female else rng.normal(175, 7)
        size = (height / 169) ** 0.9 * (0.97 if female else 1.03) * rng.normal(1, 0.03)
        age = float(np.clip(rng.normal(55, 15), 20, 88))
        return cls(female, age, float(27 * np.exp(rng.normal(0, 0.18))), float(np.clip(size, 0.84, 1.2)))


@dataclass(frozen=True, eq=False)
class Degeneration:
    """Latent degeneration, about standard normal: discs (5,), facet joints (5, 2)."""

    disc: FloatArray
    facet: FloatArray

    @classmethod
    def draw(cls, rng: np.random.Generator, patient: Patient, *, balanced: bool) -> Degeneration:
        """Grows with age and correlates along the spine; `balanced` adds to two thirds of the levels."""
        shared = rng.normal()
        # One share for the whole patient, one that neighbours have in common, one of each level alone; with
        # age they give grades of neighbouring levels a correlation like that of the challenge's labels.
        smooth, joint, whole = _along(rng), _along(rng), rng.normal()
        disc = -0.35 + 0.04 * (patient.age - 50) + DISC_OFFSET + 0.8 * shared + 0.35 * smooth
        disc = disc + 0.4 * rng.normal(size=5)
        noise = along_sides(rng, shared=0.8)
        spare, boost, side_boost = rng.random(5) < 0.3, rng.uniform(-0.6, 2.6, 5), rng.uniform(-1, 2.2, (5, 2))
        if balanced:
            disc = disc + np.where(spare, 0, boost) - 0.5 * DISC_OFFSET
            noise = noise + np.where(spare[:, None], 0, side_boost)
        facet = 0.35 * disc[:, None] + 0.65 * whole + 0.2 * joint[:, None] + 0.65 * noise + FACET_OFFSET[:, None]
        return cls(disc, facet)


def along_sides(rng: np.random.Generator, *, shared: float) -> FloatArray:
    """Values of unit variance by level and side, (5, 2): a fraction `shared` of it common to the levels of a side."""
    smooth = np.stack([_along(rng), _along(rng)], axis=1)
    sides: FloatArray = np.sqrt(shared) * smooth + np.sqrt(1 - shared) * rng.normal(size=(5, 2))
    return sides


def _along(rng: np.random.Generator) -> FloatArray:
    """Five values of unit variance, neighbours correlated by one half."""
    values = [rng.normal()]
    for _ in range(4):
        values.append(0.5 * values[-1] + np.sqrt(0.75) * rng.normal())
    return np.array(values)


def draw_herniations(rng: np.random.Generator, degeneration: Degeneration, *, balanced: bool) -> FloatArray:
    """Focal herniations, (5, 5): size past the wall, sideways place (left positive), half width, shift, half height.

    Shift is the migration of the fragment up (positive) or down along the canal; all mm, size 0 for none.
    """
    # Falls again in the worst discs: a collapsed disc has no nucleus left to herniate.
    chance = (
        np.interp(degeneration.disc, (-1.35, -0.45, 0.25, 1.0, 2.5), (0.02, 0.06, 0.18, 0.28, 0.15)) * HERNIATION_FACTOR
    )
    if balanced:
        chance = np.maximum(1.5 * chance, 0.25)
    present = rng.random(5) < chance
    extruded = rng.random(5) < 0.2
    size = np.where(extruded, rng.normal(7.0, 2.0, 5), rng.normal(4.3, 1.5, 5)).clip(1.5, 11)
    site = rng.choice(4, size=5, p=(0.25, 0.50, 0.17, 0.08))
    place = (np.array(SITES)[site] + rng.normal(0, 1.3, 5)) * rng.choice([-1.0, 1.0], size=5)
    shift = np.where(extruded, rng.normal(0, 5, 5), rng.normal(0, 0.8, 5))
    high = np.where(extruded, rng.normal(7, 2, 5), rng.normal(4.2, 1.2, 5)).clip(2.5, 12)
    return np.stack([np.where(present, size, 0.0), place, rng.uniform(3.0, 6.0, 5), shift, high], axis=1)


def draw_slips(rng: np.random.Generator, patient: Patient, degeneration: Degeneration) -> tuple[FloatArray, bool]:
    """Forward slip of the upper vertebra at each level, (5,) mm, and whether that of L5/S1 is isthmic."""
    # Degenerative slips are rare before the fifties and more common in women.
    likely = 1 / (1 + np.exp(-(patient.age - 58) / 8))
    chance = (
        SLIP_CHANCE * (1.35 if patient.female else 0.65) * 1.9 * likely * np.exp(0.35 * degeneration.facet.mean(axis=1))
    )
    forward = np.clip(3 + rng.exponential(2, 5), 0, 9)
    slip = np.where(rng.random(5) < chance, forward, 0.0)
    back = (rng.random(5) < 0.06 * (degeneration.disc > 1)) & (slip == 0)
    slip = np.where(back, -rng.uniform(2, 4, 5), slip)
    isthmic = bool(rng.random() < 0.04)
    if isthmic:
        slip[4] = np.clip(rng.normal(5, 2), 2, 8)
    return slip, isthmic


def draw_modic(rng: np.random.Generator, degeneration: Degeneration) -> FloatArray:
    """Endplate changes, (5, 3): type 0 to 3, then depth in mm in the upper and the lower vertebra."""
    present = rng.random(5) < 1 / (1 + np.exp(3.6 - 1.1 * degeneration.disc - MODIC_OFFSET))
    kind = np.where(present, rng.choice([1.0, 2.0, 3.0], size=5, p=(0.25, 0.70, 0.05)), 0.0)
    depth = rng.uniform(4, 13, (5, 2)) * (rng.random((5, 2)) < 0.9)
    return np.column_stack([kind, depth * present[:, None]])


def draw_schmorl(rng: np.random.Generator) -> FloatArray:
    """Schmorl nodes, (5, 3): depth into an endplate (up positive, 0 none), radius and place behind the front, mm."""
    depth = rng.uniform(3, 7, 5) * rng.choice([-1.0, 1.0], 5) * (rng.random(5) < SCHMORL_CHANCE)
    return np.column_stack([depth, rng.uniform(2.5, 5, 5), rng.uniform(-26, -10, 5)])


def draw_surgery(rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Vertebrae without laminae after decompression, and vertebrae with pedicle screws."""
    laminectomy, screws = np.zeros(11, bool), np.zeros(11, bool)
    chance, level, more = rng.random(), int(rng.choice([5, 6, 7], p=(0.2, 0.5, 0.3))), int(rng.integers(1, 3))
    if chance < 0.065:
        laminectomy[level : min(level + more, 8)] = True
    if chance < 0.02:
        screws[level : min(level + 1 + more, 9)] = True
    return laminectomy, screws
