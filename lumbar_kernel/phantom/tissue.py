"""Tissues of the phantom: one small integer each, and what magnetic resonance knows about them."""

from __future__ import annotations

from dataclasses import dataclass

OUTSIDE = 0
"""Nothing painted here: the background (muscle, fat, abdomen) shows through."""

CORTEX, MARROW, FAT, CSF, ROOT, CORD, FLAVUM, GANGLION, JOINT, INTERSPINOUS, VEIN = range(1, 12)
ANNULUS = 20
"""Annulus of disc j is ANNULUS + j, counted from T10/T11."""
NUCLEUS = 40
MUSCLE, SKIN_FAT, VESSEL, BOWEL, KIDNEY, AIR, SKIN = range(60, 67)

N_IDS = 80
"""Length of every table that is indexed by tissue."""


@dataclass(frozen=True)
class Relaxation:
    """Proton density, relaxation times (ms) and fat fraction of a tissue."""

    density: float
    t1: float
    t2: float
    fat: float = 0.0


FAT_WATERLESS = Relaxation(0.90, 260, 165)
"""Pure fat at 1.5 T; T2 long because many refocusing pulses keep it bright in fast spin echo."""

TABLE = {
    CORTEX: Relaxation(0.10, 500, 9),
    MARROW: Relaxation(0.75, 850, 45, fat=0.45),
    FAT: Relaxation(0.80, 850, 45, fat=0.92),
    CSF: Relaxation(1.00, 4000, 1100),
    ROOT: Relaxation(0.75, 950, 80),
    CORD: Relaxation(0.75, 850, 80),
    FLAVUM: Relaxation(0.55, 800, 28),
    GANGLION: Relaxation(0.80, 1050, 85),
    JOINT: Relaxation(0.6, 1300, 65),
    INTERSPINOUS: Relaxation(0.75, 950, 35, fat=0.62),
    VEIN: Relaxation(0.85, 1300, 130, fat=0.15),
    MUSCLE: Relaxation(0.80, 1020, 37, fat=0.08),
    SKIN_FAT: Relaxation(0.80, 850, 45, fat=0.97),
    VESSEL: Relaxation(0.06, 1200, 60),
    BOWEL: Relaxation(0.70, 1100, 60, fat=0.1),
    KIDNEY: Relaxation(0.85, 970, 85),
    AIR: Relaxation(0.0, 1000, 10),
    SKIN: Relaxation(0.6, 900, 35, fat=0.2),
}
"""Textbook values at 1.5 T, good to about ten per cent (design note, section 4.1); every study perturbs them."""
