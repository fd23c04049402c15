"""Draw one patient: sizes, curvature, and the effects of degeneration at each level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom.degeneration import (
    Degeneration,
    Patient,
    along_sides,
    draw_herniations,
    draw_modic,
    draw_schmorl,
    draw_slips,
    draw_surgery,
)
from lumbar_kernel.phantom.posture import draw_irregularity, draw_scoliosis, draw_tilt

FIRST_DISC = 3
"""Disc j is below vertebra j, counted from T10; L1/L2 is disc 3 and level l of the schema is disc FIRST_DISC + l."""

LUMBAR_DISCS = range(FIRST_DISC, FIRST_DISC + 5)
"""Discs L1/L2 to L5/S1, and by the rule above also the vertebrae L1 to L5."""

FIRST_FUSED = 8
"""S1, the uppermost vertebra of a usual sacrum."""

# Millimetres per vertebra, T10 to S3 (thoracic and sacral ends are extrapolated).
BODY_HEIGHT = np.array([24.0, 25.5, 27.3, 29.0, 29.7, 29.3, 28.2, 26.6, 27.0, 22.0, 18.0])
BODY_WIDTH = np.array([35.0, 37.0, 39.0, 41.4, 43.0, 44.5, 47.0, 48.5, 49.5, 38.0, 30.0])
BODY_DEPTH = np.array([29.0, 30.0, 31.0, 32.5, 33.5, 34.5, 35.3, 36.0, 31.0, 17.0, 12.0])
CANAL_WIDTH = np.array([20.0, 20.5, 21.5, 22.5, 23.0, 24.0, 25.5, 27.9, 30.0, 24.0, 18.0])
PEDICLE_WIDTH = np.array([7.0, 7.5, 8.0, 8.7, 8.9, 10.3, 12.9, 16.0, 18.0, 14.0, 10.0])
PEDICLE_HEIGHT = np.array([12.5, 12.8, 13.2, 13.8, 14.0, 14.8, 15.6, 16.7, 17.0, 14.0, 12.0])
"""Of a vertebra whose body is 29 mm high."""
PROCESS = np.array([20.0, 20.0, 20.0, 29.0, 29.0, 29.0, 29.0, np.nan, 14.0, 0.0, 0.0])
"""Length of spinous processes behind the canal; that of L5 is drawn separately, S1 has one where it is free."""
LOWEST_PROCESS, OPEN_ARCH_SHARE = (8.0, 24.0), 0.08
"""Range of the process of L5, and fraction of people whose arch of L5 is open, without a process."""

# Millimetres and degrees per lumbar disc, L1/L2 to L5/S1.
DISC_HEIGHT = np.array([5.8, 6.6, 7.2, 7.7, 6.7])
DISC_WEDGE = np.array([4.0, 4.5, 5.0, 5.3, 6.8])
SAC_DEPTH = np.array([15.9, 14.6, 13.35, 13.0, 12.1])
SAC_WIDTH = np.array([17.0, 16.5, 16.7, 17.4, 15.7])
FLAVUM_BASE = np.array([2.5, 2.7, 2.8, 2.9, 2.9])
GANGLION_WIDTH = np.array([4.2, 4.7, 5.2, 5.7, 6.1])
ROOT_AREA = np.array([50.0, 45.0, 36.0, 27.0, 18.0])
TAKE_OFF = np.array([0.50, 0.47, 0.42, 0.36, 0.435])
"""Fraction of the sac's width, from the midline, at which the traversing root leaves it above the disc: the challenge's
recess labels come closer to the midline from L1/L2 to L4/L5."""


POSTERIOR_FAT = np.array([1.6, 1.6, 1.5, 1.6, 1.6])
BULGE_FACTOR = np.array([0.65, 0.9, 1.2, 1.4, 1.2])
SIDE_FACTOR = np.array([0.6, 0.85, 1.2, 1.6, 1.8])
FACET_FACTOR = np.array([0.8, 0.95, 1.2, 1.55, 1.8])
ANTERIOR_FAT = np.array([0.25, 0.25, 0.25, 0.35, 1.6])
JOINT_ANGLE = np.array([26.0, 30.4, 38.7, 47.0, 47.3])
JOINT_ACROSS = np.array([12.6, 13.5, 15.2, 17.8, 20.5])
JOINT_BEHIND = np.array([15.4, 15.1, 14.5, 13.6, 12.6])
FORAMEN_BACK = np.array([6.4, 6.4, 5.8, 5.2, 5.2])
"""Distance behind the posterior wall at which the joint capsule closes a foramen."""
FORAMEN_TAPER = np.array([0.65, 0.6, 0.4, 0.2, 0.35])
"""Fraction of that depth which is lost at the lower end: foramina have the shape of inverted pears."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One patient in numbers; mm unless stated otherwise, sides left then right, levels L1/L2 to L5/S1.

    Attributes:
        patient: age, sex, body mass index and size.
        body_height, body_width, body_depth, canal_width, pedicle_width: (11,) per vertebra T10 to S3.
        disc_height: (10,) posterior height per disc, after degeneration.
        height_loss: (5,) disc height lost by degeneration.
        disc_wedge: (10,) degrees by which a disc opens forwards beyond the curve of the spine.
        nucleus: (10,) signal of the nucleus between 0 (black disc) and 1 (young).
        osteophyte: (10,) spurs at the front rims of both bodies.
        tilt: (11,) degrees by which the posterior wall of each body leans forwards going up.
        scoliosis: amplitude (mm) and phase of the sideways curve.
        twist: degrees of axial turn per mm of the sideways curve.
        slip: (10,) forward slip of the vertebra above each disc.
        isthmic: whether the arch of L5 stays in place when its body slips.
        elastic: (2, 3, 5) fine irregularity: amplitude, three wave numbers (per mm) and phase per axis.
        roof: (5,) depth of the bony canal at the disc, midline.
        sac_depth, sac_width, anterior_fat: (5,) nominal dural sac and the fat in front of it.
        bulge: (5,) diffuse bulge past the posterior wall.
        side_bulge: (5, 2) bulge and spur into each foramen.
        herniation: (5, 5) size past the wall, sideways place (left positive), half width, shift up, half height.
        flavum: (5, 2) thickness of the ligamentum flavum.
        facet: (5, 2) growth of the superior articular process towards the recess.
        joint_shift: (5, 2) distance of each joint behind its usual place.
        ganglion_shift: (5, 2, 2) backwards and upwards from the usual place of each ganglion.
        joint_angle: (5, 2) degrees between facet joint and sagittal plane.
        joint_gap: (5, 2) width of the fluid line in the joint.
        cyst: (5, 2) radius of a synovial cyst at the joint, 0 for none.
        modic, schmorl: (5, 3) changes of the endplates, see `degeneration.py`.
        laminectomy, screws: (11,) bool per vertebra.
        process: (11,) length of each spinous process behind the canal, 0 for an open arch without one.
        crest: height of the sacrum's median crest.
        remnant: (2,) remaining fractions of the depth of the discs S1/S2 and S2/S3.
        ganglion: (5,) diameter of the dorsal root ganglion.
        root_area: (5,) area of all roots in the sac, mm².
        roots: (28, 3) place of each root in the sac (two normalised axes) and radius in mm.
        redundancy: amplitude of the waves of the roots next to a stenosis.
        conus: level of the cord's tip as a disc number (3.0 is the disc L1/L2).
        skin_fat, muscle_depth: fat behind the muscles; muscles behind the posterior wall.
        fatness: fraction of fat streaks in the back muscles, 0 to 1.
        marrow_fat: fat fraction of the marrow.
        transitional: "", "sacralised" L5 or "lumbarised" S1; then counting from one scan is uncertain.
    """

    patient: Patient
    body_height: FloatArray
    body_width: FloatArray
    body_depth: FloatArray
    canal_width: FloatArray
    pedicle_width: FloatArray
    disc_height: FloatArray
    height_loss: FloatArray
    disc_wedge: FloatArray
    nucleus: FloatArray
    osteophyte: FloatArray
    tilt: FloatArray
    scoliosis: tuple[float, float]
    twist: float
    slip: FloatArray
    isthmic: bool
    elastic: FloatArray
    roof: FloatArray
    sac_depth: FloatArray
    sac_width: FloatArray
    anterior_fat: FloatArray
    bulge: FloatArray
    side_bulge: FloatArray
    herniation: FloatArray
    flavum: FloatArray
    facet: FloatArray
    joint_shift: FloatArray
    ganglion_shift: FloatArray
    joint_angle: FloatArray
    joint_gap: FloatArray
    cyst: FloatArray
    modic: FloatArray
    schmorl: FloatArray
    laminectomy: NDArray[np.bool_]
    screws: NDArray[np.bool_]
    process: FloatArray
    crest: float
    remnant: FloatArray
    ganglion: FloatArray
    root_area: FloatArray
    roots: FloatArray
    redundancy: float
    conus: float
    skin_fat: float
    muscle_depth: float
    fatness: float
    marrow_fat: float
    transitional: str


def _draw_roots(rng: np.random.Generator, narrow: float) -> FloatArray:
    """Roots in a disc-shaped sac: supine, so they settle towards the back unless the sac is narrow."""
    angle = rng.uniform(0, 2 * np.pi, 28)
    radius = np.sqrt(rng.uniform(0.05, 0.85, 28))
    across, back = radius * np.cos(angle), radius * np.sin(angle)
    settled = rng.uniform(0.35, 0.95) if narrow > 0.85 else rng.uniform(0, 0.3)
    back = back * (1 - 0.55 * settled) + 0.42 * settled * (1 - 0.3 * across**2)
    return np.stack([across, np.clip(back, -0.8, 0.85), rng.uniform(0.6, 1.0, 28)], axis=1)


def _draw_processes(rng: np.random.Generator) -> FloatArray:
    """Lengths of the spinous processes: that of L5 is short, of any size, and missing where its arch is open."""
    reach = PROCESS * np.exp(rng.normal(0, 0.1, len(PROCESS)))
    reach[FIRST_FUSED - 1] = rng.uniform(*LOWEST_PROCESS) if rng.random() < 1 - OPEN_ARCH_SHARE else 0.0
    return reach


def draw_anatomy(rng: np.random.Generator, *, balanced: bool = False) -> Anatomy:
    """Draw one patient.

    Args:
        rng: the only source of randomness.
        balanced: make moderate and severe stenosis much more common at every level, for training.
    """
    who, why, how, bone, soft, rare, last = rng.spawn(7)
    patient = Patient.draw(who)
    degeneration = Degeneration.draw(why, patient, balanced=balanced)
    size, degenerated, degenerated_facet = (
        patient.size,
        np.maximum(degeneration.disc, 0),
        np.maximum(degeneration.facet, 0),
    )
    transitional = str(rare.choice(["", "sacralised", "lumbarised"], p=(0.89, 0.09, 0.02)))
    narrow = float(np.exp(bone.normal(0, 0.09))) * (0.85 if rare.random() < 0.07 else 1.0)
    slip, isthmic = draw_slips(how, patient, degeneration)

    # A disc keeps its height until it is clearly degenerated, then loses up to more than half of it.
    keep = np.interp(degeneration.disc, (0.25, 1.0, 2.0, 3.5), (1.0, 0.88, 0.72, 0.42)) * np.exp(how.normal(0, 0.07, 5))
    healthy = DISC_HEIGHT * size * np.exp(bone.normal(0, 0.10) + bone.normal(0, 0.12, 5))
    disc_height = healthy * np.minimum(keep, 1.05)
    if transitional == "sacralised":
        disc_height[4] *= rare.uniform(0.35, 0.6)
    loss = np.maximum(healthy - disc_height, 0)
    nucleus = np.interp(degeneration.disc, (-1.8, -0.8, 0.0, 1.0, 2.0), (1.0, 0.75, 0.42, 0.16, 0.03))

    # Lost height has to go somewhere: annulus bulges, and spurs and the folded flavum grow with it.
    bulge = np.interp(degeneration.disc, (-1, 0, 1, 3), (0.1, 0.8, 2.3, 3.8)) * BULGE_FACTOR
    bulge = bulge * np.exp(how.normal(0, 0.3) + how.normal(0, 0.28, 5))
    spur = 0.65 * how.exponential(1, (5, 2)) * np.exp(0.7 * along_sides(how, shared=0.8))
    spur = spur * (0.35 + degenerated[:, None]) * np.exp(how.normal(0, 0.9))
    side = 0.25 * bulge[:, None] * np.exp(how.normal(0, 0.5, (5, 2))) + 0.25 * loss[:, None] + 0.95 * spur
    thick = np.exp(0.18 * soft.normal() + 0.10 * soft.normal(size=(5, 1)) + 0.2 * along_sides(soft, shared=0.6))
    flavum = (
        FLAVUM_BASE[:, None] * thick * (1 + 0.18 * degenerated[:, None] + 0.16 * degenerated_facet)
        + 0.25 * loss[:, None]
    )

    fat_chance, overweight = np.interp(patient.body_mass_index, (26, 40), (0.01, 0.2)), patient.body_mass_index - 27
    lipomatosis = float(rare.uniform(1.5, 2.6)) if rare.random() < fat_chance else 1.0
    sac_depth = SAC_DEPTH * narrow * size**0.3 * np.exp(soft.normal(0, (0.13, 0.09, 0.06, 0.06, 0.06)))
    anterior = ANTERIOR_FAT * np.exp(soft.normal(0, 0.2, 5) + soft.normal(0, 0.3))
    posterior = POSTERIOR_FAT * np.exp(soft.normal(0, 0.25, 5) + soft.normal(0, 0.2)) + 0.06 * overweight
    # The bony canal is built around its soft contents, so that a narrow canal is narrow in all of them.
    posterior = np.clip(posterior, 0.5, 6)
    roof = anterior + sac_depth + posterior + FLAVUM_BASE * 1.1 + soft.normal(0, 0.6) + soft.normal(0, 0.5, 5)
    # Epidural lipomatosis takes the sac's room, most of it in the lower levels.
    extra = (lipomatosis - 1) * np.array([0.6, 0.9, 1.3, 1.7, 2.2])
    # Fluid and cysts of the joints are signs of instability: more common where a vertebra has slipped.
    effusion = soft.random((5, 2)) < 0.10 + 0.15 * (slip > 0)[:, None]
    cyst_chance = (0.012 + 0.06 * (slip > 0))[:, None] * np.array([0.2, 0.5, 1, 2.5, 1])[:, None]
    laminectomy, screws = draw_surgery(rare)
    lower = np.array([1.9, 0.9]) * np.exp(last.normal(0, 0.3, 2))
    if transitional == "lumbarised":
        lower[0] = 7.0 * size
    bodies = BODY_HEIGHT * size * np.exp(bone.normal(0, 0.03, 11))
    if rare.random() < np.interp(patient.age, (60, 75), (0.04, 0.15)):
        bodies[int(rare.integers(2, 7))] *= rare.uniform(0.55, 0.85)  # an old compression fracture
    return Anatomy(
        patient=patient,
        body_height=bodies,
        body_width=BODY_WIDTH * size * np.exp(bone.normal(0, 0.02) + bone.normal(0, 0.02, 11)),
        body_depth=BODY_DEPTH * size * np.exp(bone.normal(0, 0.03) + bone.normal(0, 0.02, 11)),
        canal_width=CANAL_WIDTH * size * narrow**0.5 * np.exp(bone.normal(0, 0.05)),
        pedicle_width=PEDICLE_WIDTH * size * np.exp(bone.normal(0, 0.14) + bone.normal(0, 0.1, 11)),
        disc_height=np.concatenate([[4.0, 4.5, 5.5], disc_height, lower]),
        height_loss=loss,
        disc_wedge=np.concatenate([[0, 0, 0], DISC_WEDGE * keep, [2, 0]]),
        nucleus=np.concatenate([np.clip(nucleus[0] + bone.normal(0, 0.15, 3), 0.03, 1), nucleus, [0.35, 0.05]]),
        osteophyte=np.concatenate([[0.5, 0.5, 0.5], how.exponential(0.3 + 1.1 * degenerated), [0, 0]]).clip(0, 8),
        tilt=draw_tilt(bone, degeneration, transitional),
        scoliosis=draw_scoliosis(rare, patient),
        twist=float(rare.uniform(0.5, 1.2)),
        slip=np.concatenate([[0, 0, 0], slip, [0, 0]]),
        isthmic=isthmic,
        elastic=draw_irregularity(bone),
        roof=roof,
        sac_depth=sac_depth - 0.8 * extra,
        sac_width=SAC_WIDTH * narrow**0.5 * size**0.5 * np.exp(soft.normal(0, 0.06, 5) + soft.normal(0, 0.07)) - extra,
        anterior_fat=anterior + 0.3 * extra,
        bulge=bulge,
        side_bulge=SIDE_FACTOR[:, None] * side,
        herniation=draw_herniations(how, degeneration, balanced=balanced),
        flavum=flavum,
        facet=FACET_FACTOR[:, None] * degenerated_facet * np.exp(how.normal(0, 0.35) + how.normal(0, 0.25, (5, 2))),
        joint_shift=how.normal(0, 0.75, (5, 2)) + how.normal(0, 1.2),
        ganglion_shift=soft.normal(0, 0.8, (5, 2, 2)) + soft.normal(0, 0.7, 2),
        joint_angle=JOINT_ANGLE[:, None] + bone.normal(0, 7, (5, 1)) + bone.normal(0, 4, (5, 2)),
        joint_gap=np.where(effusion, soft.uniform(1.2, 2.6, (5, 2)), soft.uniform(0.4, 1.0, (5, 2))),
        cyst=np.where(rare.random((5, 2)) < cyst_chance, rare.uniform(1.8, 4.5, (5, 2)), 0.0),
        modic=draw_modic(how, degeneration),
        schmorl=draw_schmorl(how),
        laminectomy=laminectomy,
        screws=screws,
        process=_draw_processes(last),
        crest=float(last.uniform(1, 9)),
        remnant=np.array([1.0 if transitional == "lumbarised" else last.uniform(0.4, 0.95), last.uniform(0.3, 0.9)]),
        ganglion=GANGLION_WIDTH * np.exp(soft.normal(0, 0.11, 5)),
        root_area=ROOT_AREA * np.exp(soft.normal(0, 0.11) + soft.normal(0, 0.06, 5)),
        roots=_draw_roots(soft, narrow),
        redundancy=float(rare.uniform(0.1, 0.5)) if rare.random() < 0.4 else 0.0,
        conus=float(np.clip(soft.normal(2.73, 0.43), 1.4, 4.2)),
        skin_fat=float(np.exp(soft.normal(np.log(16), 0.5) + 0.04 * overweight)),
        muscle_depth=float(soft.normal(52, 4) * size),
        fatness=float(np.clip(soft.normal(0.15 + 0.007 * (patient.age - 40), 0.13), 0.02, 0.75)),
        marrow_fat=float(np.clip(soft.normal(0.40 + 0.0035 * (patient.age - 55), 0.08), 0.2, 0.7)),
        transitional=transitional,
    )
