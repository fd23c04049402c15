"""Draws one patient: sizes, curvature, degeneration and the mechanisms that narrow each level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

VERTEBRAE = ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2", "S3")
FIRST_DISC = 3
"""Disc j lies below vertebra j; L1/L2 is disc 3 and level l of the schema is disc FIRST_DISC + l."""

# Millimetres per vertebra, T10 to S3 (design note, section 1.1; thoracic and sacral ends are extrapolated).
BODY_HEIGHT = np.array([24.0, 25.5, 27.0, 28.3, 28.9, 29.0, 28.2, 26.8, 27.0, 22.0, 18.0])
BODY_WIDTH = np.array([35.0, 37.0, 39.5, 42.0, 44.0, 46.0, 48.0, 49.0, 50.0, 38.0, 30.0])
BODY_DEPTH = np.array([29.0, 30.0, 31.0, 32.5, 33.7, 34.5, 35.0, 35.3, 31.0, 21.0, 15.0])
CANAL_WIDTH = np.array([20.0, 20.5, 21.5, 22.5, 23.0, 24.0, 25.5, 28.0, 30.0, 24.0, 18.0])
PEDICLE_WIDTH = np.array([7.0, 7.5, 8.0, 8.7, 8.9, 10.3, 12.9, 16.0, 18.0, 14.0, 10.0])

# Millimetres and degrees per lumbar disc, L1/L2 to L5/S1 (sections 1.2 to 1.5).
DISC_HEIGHT = np.array([6.6, 7.6, 8.4, 9.0, 8.0])
DISC_WEDGE = np.array([1.0, 3.0, 5.0, 7.0, 10.0])
SAC_DEPTH = np.array([15.2, 14.4, 13.7, 13.2, 11.8])
SAC_WIDTH = np.array([17.0, 17.2, 17.6, 18.0, 15.5])
FLAVUM_BASE = np.array([2.45, 2.6, 2.75, 2.85, 2.7])
GANGLION_WIDTH = np.array([4.2, 4.7, 5.2, 5.7, 6.1])
ROOT_AREA = np.array([28.5, 30.0, 30.0, 28.0, 19.5])
BULGE_FACTOR = np.array([0.65, 1.0, 1.3, 1.4, 1.3])
SIDE_FACTOR = np.array([0.4, 0.7, 1.4, 1.85, 2.2])
FLAVUM_GROWTH = np.array([0.14, 0.22, 0.31, 0.37, 0.18])
ANTERIOR_FAT = np.array([0.6, 0.6, 0.6, 0.9, 3.4])
DISC_OFFSET = np.array([-0.55, -0.25, 0.05, 0.55, 0.40])
FACET_OFFSET = np.array([-0.2, -0.1, 0.1, 0.4, -0.3])
HERNIATION_FACTOR = np.array([0.45, 0.6, 0.85, 1.6, 1.55])


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One patient in numbers; mm unless said otherwise, sides left then right, levels L1/L2 to L5/S1.

    Attributes:
        body_height, body_width, body_depth, canal_width, pedicle_width: (11,) per vertebra T10 to S3.
        disc_height: (10,) posterior height per disc, after degeneration.
        disc_wedge: (10,) degrees by which a disc opens forwards beyond the curve of the spine.
        nucleus: (10,) signal of the nucleus between 0 (black disc) and 1 (young).
        tilt: (11,) degrees by which the posterior wall of each body leans forwards going up.
        scoliosis: amplitude (mm) and phase of the sideways curve.
        roof: (5,) depth of the bony canal at the disc, midline.
        sac_depth, sac_width, anterior_fat, posterior_fat: (5,) nominal dural sac and the fat around it.
        bulge: (5,) diffuse bulge past the posterior wall.
        side_bulge: (5, 2) bulge and spur into each foramen.
        herniation: (5, 3) size past the wall, sideways place (left positive), half width.
        flavum: (5, 2) thickness of the ligamentum flavum.
        facet: (5, 2) growth of the superior articular process towards the recess.
        ganglion: (5,) diameter of the dorsal root ganglion.
        root_area: (5,) area of all roots in the sac, mm².
        roots: (28, 3) place of each root in the sac (two normalised axes) and radius in mm.
        conus: level of the cord's tip as a disc number (3.0 is the disc L1/L2).
        skin_fat, muscle_depth: fat behind the muscles; muscles behind the posterior wall.
        fatness: share of fat streaks in the back muscles, 0 to 1.
    """

    body_height: FloatArray
    body_width: FloatArray
    body_depth: FloatArray
    canal_width: FloatArray
    pedicle_width: FloatArray
    disc_height: FloatArray
    disc_wedge: FloatArray
    nucleus: FloatArray
    tilt: FloatArray
    scoliosis: tuple[float, float]
    roof: FloatArray
    sac_depth: FloatArray
    sac_width: FloatArray
    anterior_fat: FloatArray
    posterior_fat: FloatArray
    bulge: FloatArray
    side_bulge: FloatArray
    herniation: FloatArray
    flavum: FloatArray
    facet: FloatArray
    ganglion: FloatArray
    root_area: FloatArray
    roots: FloatArray
    conus: float
    skin_fat: float
    muscle_depth: float
    fatness: float


@dataclass(frozen=True, eq=False)
class _Wear:
    """Latent wear: disc (5,), facets (5, 2), both about standard normal, and the patient's age in years."""

    disc: FloatArray
    facet: FloatArray
    age: float


def _draw_wear(rng: np.random.Generator, *, balanced: bool) -> _Wear:
    age = float(np.clip(rng.normal(55, 15), 20, 88))
    patient = rng.normal()
    smooth = np.convolve(rng.normal(size=7), np.ones(3) / np.sqrt(3), mode="valid")
    disc = -0.35 + 0.04 * (age - 50) + DISC_OFFSET + 0.55 * patient + 0.25 * smooth + 0.65 * rng.normal(size=5)
    facet_patient, facet_noise = rng.normal(), rng.normal(size=(5, 2))
    boost, side_boost, spare = rng.uniform(-0.6, 2.6, size=5), rng.uniform(-1, 2, size=(5, 2)), rng.random((5,)) < 0.3
    if balanced:
        disc = disc + np.where(spare, 0, boost) - 0.4 * (DISC_OFFSET - DISC_OFFSET.mean())
        facet_noise = facet_noise + np.where(spare[:, None], 0, side_boost)
    facet = 0.5 * disc[:, None] + 0.35 * patient + 0.35 * facet_patient + 0.55 * facet_noise + FACET_OFFSET[:, None]
    return _Wear(disc, facet, age)


def _draw_herniation(rng: np.random.Generator, disc: FloatArray, *, balanced: bool) -> FloatArray:
    chance = np.interp(disc, (-1.35, -0.45, 0.25, 1.0, 2.5), (0.02, 0.06, 0.18, 0.26, 0.2)) * HERNIATION_FACTOR
    if balanced:
        chance = np.maximum(1.5 * chance, 0.22)
    present = rng.random(5) < chance
    size = np.clip(np.where(rng.random(5) < 0.8, rng.normal(4.2, 1.5, 5), rng.normal(7.0, 2.0, 5)), 1.5, 11)
    site = rng.choice(4, size=5, p=(0.27, 0.48, 0.19, 0.06))
    place = np.array([0.0, 7.5, 15.0, 21.0])[site] + rng.normal(0, 1.3, 5)
    place *= rng.choice([-1.0, 1.0], size=5)
    return np.stack([np.where(present, size, 0.0), place, rng.uniform(3.0, 6.0, 5)], axis=1)


def _draw_roots(rng: np.random.Generator) -> FloatArray:
    """Roots in a disc-shaped sac: supine, so most settle towards the back."""
    angle = rng.uniform(0, 2 * np.pi, 28)
    radius = np.sqrt(rng.uniform(0.05, 0.85, 28))
    across, back = radius * np.cos(angle), radius * np.sin(angle)
    settled = rng.uniform(0.2, 0.8)
    back = back * (1 - 0.5 * settled) + 0.45 * settled * (1 - 0.6 * across**2)
    return np.stack([across, np.clip(back, -0.8, 0.85), rng.uniform(0.75, 1.05, 28)], axis=1)


def _draw_tilt(rng: np.random.Generator, wear: _Wear) -> FloatArray:
    """Lean of each body from the sacral slope and the lordosis between neighbours (section 1.4), degrees."""
    slope = float(np.clip(rng.normal(38, 7), 20, 55))
    segment = np.array([1.5, 5.5, 8.5, 11.5, 17.0]) * (1 + 0.45 * (slope - 38) / 38) + rng.normal(0, 2.0, 5)
    segment = np.maximum(segment - 1.5 * np.maximum(wear.disc, 0), -4)
    lumbar = slope - np.cumsum(segment[::-1])  # L5 up to L1
    thoracic = lumbar[-1] + np.array([-1.0, -1.0, 1.0])[::-1] + rng.normal(0, 1.0, 3)
    sacral = np.array([slope + 4, slope - 6, slope - 22])
    return np.concatenate([thoracic[::-1], lumbar[::-1], sacral])


def draw_anatomy(rng: np.random.Generator, *, balanced: bool = False) -> Anatomy:
    """Draw one patient.

    Args:
        rng: the only source of chance.
        balanced: make moderate and severe narrowing much commoner at every level, for training.
    """
    wear = _draw_wear(rng, balanced=balanced)
    size = float(np.clip(rng.normal(1.0, 0.055), 0.86, 1.16))
    narrow = float(np.exp(rng.normal(0, 0.09))) * (0.86 if rng.random() < 0.07 else 1.0)
    worn, worn_facet = np.maximum(wear.disc, 0), np.maximum(wear.facet, 0)

    keep = np.interp(wear.disc, (0.25, 1.0, 2.0, 3.5), (1.0, 0.86, 0.68, 0.42)) * np.exp(rng.normal(0, 0.08, 5))
    lumbar_height = DISC_HEIGHT * size * np.exp(rng.normal(0, 0.09, 5)) * keep
    loss = np.maximum(DISC_HEIGHT * size - lumbar_height, 0)
    nucleus = np.interp(wear.disc, (-1.8, -0.8, 0.0, 1.0, 2.0), (1.0, 0.75, 0.42, 0.16, 0.03))

    bulge = np.interp(wear.disc, (-1, 0, 1, 3), (0.1, 0.8, 2.2, 3.6)) * BULGE_FACTOR * np.exp(rng.normal(0, 0.35, 5))
    spur = np.abs(rng.normal(0, 1, (5, 2))) * (0.4 + worn[:, None])
    side = (0.5 * bulge[:, None] + 0.5 * loss[:, None] + spur) * SIDE_FACTOR[:, None]
    thick = np.exp(0.12 * rng.normal() + 0.16 * rng.normal(size=(5, 1)) + 0.08 * rng.normal(size=(5, 2)))
    flavum = (
        FLAVUM_BASE[:, None] * thick * (1 + FLAVUM_GROWTH[:, None] * (worn[:, None] + worn_facet)) + 0.2 * loss[:, None]
    )

    sac_depth = SAC_DEPTH * narrow * size**0.5 * np.exp(rng.normal(0, 0.07, 5))
    anterior = ANTERIOR_FAT * np.exp(rng.normal(0, 0.35, 5))
    posterior = np.clip(rng.normal(2.2, 0.6, 5) + rng.normal(0, 0.5), 0.6, 5)
    roof = anterior + sac_depth + posterior + FLAVUM_BASE * 1.1 + rng.normal(0, 0.4, 5)
    return Anatomy(
        body_height=BODY_HEIGHT * size * np.exp(rng.normal(0, 0.025, 11)),
        body_width=BODY_WIDTH * size * np.exp(rng.normal(0, 0.02, 11)),
        body_depth=BODY_DEPTH * size * np.exp(rng.normal(0, 0.02, 11)),
        canal_width=CANAL_WIDTH * size * narrow**0.5,
        pedicle_width=PEDICLE_WIDTH * size * np.exp(rng.normal(0, 0.07, 11)),
        disc_height=np.concatenate([[4.0, 4.5, 5.5], lumbar_height, [2.5, 1.2]]),
        disc_wedge=np.concatenate([[0, 0, 0], DISC_WEDGE * keep, [2, 0]]),
        nucleus=np.concatenate([np.clip(nucleus[0] + rng.normal(0, 0.15, 3), 0.03, 1), nucleus, [0.2, 0.05]]),
        tilt=_draw_tilt(rng, wear),
        scoliosis=(float(rng.normal(0, 2.0) * (4 if rng.random() < 0.07 else 1)), float(rng.uniform(-0.6, 0.6))),
        roof=roof,
        sac_depth=sac_depth,
        sac_width=SAC_WIDTH * narrow**0.5 * size * np.exp(rng.normal(0, 0.06, 5)),
        anterior_fat=anterior,
        posterior_fat=posterior,
        bulge=bulge,
        side_bulge=side,
        herniation=_draw_herniation(rng, wear.disc, balanced=balanced),
        flavum=flavum,
        facet=1.25 * worn_facet * np.exp(rng.normal(0, 0.2, (5, 2))),
        ganglion=GANGLION_WIDTH * np.exp(rng.normal(0, 0.1, 5)),
        root_area=ROOT_AREA * np.exp(rng.normal(0, 0.1)),
        roots=_draw_roots(rng),
        conus=float(np.clip(rng.normal(2.7, 0.45), 1.4, 4.2)),
        skin_fat=float(np.exp(rng.normal(np.log(16), 0.45))),
        muscle_depth=float(rng.normal(52, 4)),
        fatness=float(np.clip(rng.normal(0.15 + 0.006 * (wear.age - 40), 0.12), 0.02, 0.7)),
    )
