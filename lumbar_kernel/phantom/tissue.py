"""Tissues of the phantom: one small integer each, and their magnetic resonance properties."""

from __future__ import annotations

from dataclasses import dataclass

OUTSIDE = 0
"""Nothing painted here: the background (muscle, fat, abdomen) shows through."""

CORTEX, MARROW, FAT, CSF, ROOT, CORD, FLAVUM, GANGLION, JOINT, INTERSPINOUS, VEIN, LIGAMENT = range(1, 13)
EDEMA, FATTY, SCLEROSIS, CYST, METAL, SCAR = range(13, 19)
ANNULUS = 20
"""Annulus of disc j is ANNULUS + j, counted from T10/T11."""
INNER = 30
"""Inner annulus, between annulus and nucleus in look."""
NUCLEUS = 40
MUSCLE, SKIN_FAT, VESSEL, BOWEL, KIDNEY, AIR, SKIN, SINUS = range(60, 68)

MODIC = (EDEMA, FATTY, SCLEROSIS)
"""Marrow next to an endplate by Modic type 1, 2, 3."""

SAC = (CSF, ROOT, CORD)
"""The dural sac with what it holds."""

FORAMINAL_FAT = (FAT, VESSEL, VEIN)
"""The fat of a foramen with the vessels in it."""

N_IDS = 80
"""Length of every table that is indexed by tissue."""


@dataclass(frozen=True)
class Relaxation:
    """Proton density, relaxation times (ms) and fat fraction of a tissue."""

    density: float
    t1: float
    t2: float
    fat: float = 0.0


PURE_FAT = Relaxation(0.90, 288, 165)
"""Fat at 1.5 T; T2 long because many refocusing pulses keep it bright in fast spin echo."""

TABLE = {
    CORTEX: Relaxation(0.16, 500, 12),
    MARROW: Relaxation(0.75, 850, 45, fat=0.45),
    FAT: Relaxation(0.80, 850, 45, fat=0.92),
    CSF: Relaxation(1.00, 4000, 1100),
    ROOT: Relaxation(0.75, 950, 80),
    CORD: Relaxation(0.75, 850, 80),
    FLAVUM: Relaxation(0.55, 800, 30),
    GANGLION: Relaxation(0.80, 1050, 90),
    JOINT: Relaxation(0.80, 1800, 140),
    INTERSPINOUS: Relaxation(0.70, 950, 36, fat=0.50),
    VEIN: Relaxation(0.85, 1300, 130, fat=0.15),
    LIGAMENT: Relaxation(0.25, 600, 15),
    EDEMA: Relaxation(0.85, 1100, 85, fat=0.15),
    FATTY: Relaxation(0.80, 850, 45, fat=0.75),
    SCLEROSIS: Relaxation(0.30, 600, 18, fat=0.1),
    CYST: Relaxation(0.95, 2200, 250),
    METAL: Relaxation(0.0, 1000, 10),
    SCAR: Relaxation(0.70, 900, 45, fat=0.15),
    MUSCLE: Relaxation(0.80, 1020, 37, fat=0.07),
    SKIN_FAT: Relaxation(0.80, 850, 45, fat=0.97),
    VESSEL: Relaxation(0.06, 1200, 60),
    BOWEL: Relaxation(0.70, 1100, 60, fat=0.1),
    KIDNEY: Relaxation(0.85, 970, 85),
    AIR: Relaxation(0.0, 1000, 10),
    SKIN: Relaxation(0.6, 900, 35, fat=0.2),
    SINUS: Relaxation(0.85, 1300, 150, fat=0.5),
}
"""Textbook values at 1.5 T, accurate to about ten per cent; every study perturbs them."""
