"""Magnetic resonance signal of every tissue under one protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import Anatomy

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """How one series is taken.

    Attributes:
        role: one of `schema.SERIES_DESCRIPTIONS`.
        description: SeriesDescription as a scanner would name it.
        repetition, echo: TR and TE, ms.
        inversion: TI in ms for fat suppression by inversion, None otherwise.
        step: mm from slice to slice.
        thickness: mm.
    """

    role: str
    description: str
    repetition: float
    echo: float
    inversion: float | None
    step: float
    thickness: float


def draw_protocol(rng: np.random.Generator, role: str) -> Protocol:
    """Draw the protocol of a series (design note, section 4.3)."""
    axial = role == schema.AXIAL_T2
    step = float(np.round(rng.uniform(4.0, 5.0), 1))
    thickness = float(np.round(step * rng.uniform(0.85, 1.0), 1))
    if role == schema.SAGITTAL_T1:
        echo, repetition = rng.uniform(8, 13), rng.uniform(420, 720)
        return Protocol(
            role, str(rng.choice(["T1 SAG", "SAG T1 TSE", "t1_tse_sag"])), repetition, echo, None, step, thickness
        )
    suppressed = rng.random() < 0.25
    echo, repetition, inversion = rng.uniform(85, 120), rng.uniform(2800, 5000), rng.uniform(150, 172)
    if suppressed and not axial:
        return Protocol(
            role,
            str(rng.choice(["STIR SAG", "SAG T2 FS", "T2 SAG"])),
            repetition,
            echo * 0.6,
            inversion,
            step,
            thickness,
        )
    names = ["T2 AX", "AX T2 TSE", "T2"] if axial else ["T2 SAG", "SAG T2 TSE", "T2"]
    return Protocol(role, str(rng.choice(names)), repetition, echo, None, step, thickness)


def _signal(values: tissue.Relaxation, protocol: Protocol) -> float:
    recovery = np.exp(-protocol.repetition / values.t1)
    if protocol.inversion is None:
        along = 1 - recovery
    else:
        along = abs(1 - 2 * np.exp(-protocol.inversion / values.t1) + recovery)
    return float(values.density * along * np.exp(-protocol.echo / values.t2))


def _with_discs(anatomy: Anatomy) -> dict[int, tissue.Relaxation]:
    """The tissue table with each disc's own annulus and nucleus: a worn nucleus loses water and T2."""
    table = dict(tissue.TABLE)
    for disc, young in enumerate(anatomy.nucleus):
        t2 = float(np.exp(np.interp(young, (0, 1), (np.log(40), np.log(170)))))
        table[tissue.ANNULUS + disc] = tissue.Relaxation(0.62, 900, 36 + 14 * young)
        table[tissue.NUCLEUS + disc] = tissue.Relaxation(0.70 + 0.22 * young, 850 + 450 * young, t2)
    return table


def signals(anatomy: Anatomy, protocol: Protocol, rng: np.random.Generator) -> NDArray[np.float32]:
    """Signal per tissue id, (N_IDS,) float32, the brightest tissue at one; every tissue is a little off the book."""
    fat_t1 = 238.0 if protocol.inversion is not None else tissue.FAT_WATERLESS.t1
    fat_t1 *= float(np.exp(rng.normal(0, 0.05)))
    pure = tissue.Relaxation(tissue.FAT_WATERLESS.density, fat_t1, tissue.FAT_WATERLESS.t2)
    off = np.exp(rng.normal(0, 0.10, (tissue.N_IDS, 3)))
    marrow_fat = float(np.clip(rng.normal(0.45, 0.10), 0.2, 0.7))
    table = np.zeros(tissue.N_IDS)
    for key, values in _with_discs(anatomy).items():
        density, t1, t2 = off[key] ** np.array([0.5, 1.0, 1.0])
        water = tissue.Relaxation(values.density * density, values.t1 * t1, values.t2 * t2)
        share = marrow_fat if key == tissue.MARROW else values.fat
        table[key] = (1 - share) * _signal(water, protocol) + share * _signal(pure, protocol)
    scaled: NDArray[np.float32] = (table / table.max()).astype(np.float32)
    return scaled
