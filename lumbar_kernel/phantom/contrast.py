"""Magnetic resonance signal of every tissue under one protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.arrays import Float32Array
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import Anatomy

Complex64Array = NDArray[np.complex64]

CONTRASTS = ("physics", "perturbed", "random")
"""Physics as in a scanner; relaxation times far from the literature; or a random grey for every tissue."""

SLOWER_AT_3T = 1.18
"""T1 of water tissues at 3 T over that at 1.5 T."""


@dataclass(frozen=True)
class SequenceProtocol:
    """Acquisition parameters of one series.

    Attributes:
        role: one of `schema.SERIES_DESCRIPTIONS`.
        description: SeriesDescription as a scanner would name it.
        repetition_time, echo_time: ms.
        inversion_time: ms, for fat suppression by inversion, None otherwise.
        spacing_between_slices: mm from the middle of a slice to that of the next.
        slice_thickness: mm.
        magnetic_field_strength: tesla.
        fat_shift: pixels of the acquired matrix by which fat moves along the readout.
        readout_rows: whether the readout runs along a column of the image, from row to row.
        contrast: one of `CONTRASTS`.
        failed_fat_suppression: fraction of the fat signal that remains where fat suppression fails, 0 for none.
        volume: whether it is a volume of thin slices without gaps (SPACE, CUBE, VISTA) rather than single slices.
        fat_share: fraction of the fat signal in the image, 1 for ordinary and in-phase images, 0 for the water image of
            a Dixon sequence.
    """

    role: str
    description: str
    repetition_time: float
    echo_time: float
    inversion_time: float | None
    spacing_between_slices: float
    slice_thickness: float
    magnetic_field_strength: float = 1.5
    fat_shift: float = 0.0
    readout_rows: bool = False
    contrast: str = CONTRASTS[0]
    failed_fat_suppression: float = 0.0
    volume: bool = False
    fat_share: float = 1.0

    @property
    def phase_axis(self) -> int:
        """Axis of the image along which phase is encoded: 0 from row to row, 1 from column to column."""
        return 1 if self.readout_rows else 0


NAMES: dict[str, tuple[str, ...]] = {
    schema.SAGITTAL_T1: ("T1 SAG", "SAG T1 TSE", "t1_tse_sag", "T1W_TSE"),
    schema.SAGITTAL_T2: ("T2 SAG", "SAG T2 TSE", "T2", "t2_tse_sag"),
    schema.AXIAL_T2: ("T2 AX", "AX T2 TSE", "T2", "t2_tse_tra"),
}
SUPPRESSED_NAMES = ("STIR SAG", "SAG T2 FS", "T2 SAG")
VOLUME_NAMES = ("t2_spc_sag_p2_iso", "Sag T2 CUBE", "T2W_VISTA_SAG")
SUPPRESSED_SHARE = 0.2
FAILED_SUPPRESSION_SHARE = 0.1
"""Of the suppressed series."""


def draw_protocol(
    rng: np.random.Generator, role: str, *, field: float, contrast: str = CONTRASTS[0]
) -> SequenceProtocol:
    """Draw the protocol of a series."""
    axial = role == schema.AXIAL_T2
    step = float(np.round(rng.uniform(3.6, 5.0) if axial else rng.uniform(3.9, 5.0), 1))
    thickness = float(np.round(step * rng.uniform(0.82, 1.0), 1))
    suppressed, names = role == schema.SAGITTAL_T2 and rng.random() < SUPPRESSED_SHARE, NAMES[role]
    echo, repetition, inversion = rng.uniform(85, 120), rng.uniform(2800, 5000), None
    if role == schema.SAGITTAL_T1:
        echo, repetition = rng.uniform(7, 13), rng.uniform(420, 720) * (1.2 if field > 2 else 1.0)
    if suppressed:
        names, echo = SUPPRESSED_NAMES, rng.uniform(40, 75)
        inversion = float(rng.uniform(150, 172) if field < 2 else rng.uniform(200, 225))
    shift = float(rng.uniform(0.6, 2.2)) * float(rng.choice([-1.0, 1.0]))
    upright = bool(rng.random() < (0.3 if axial else 0.4))
    description = str(rng.choice(names))
    failed = float(rng.uniform(0.15, 0.6)) if suppressed and rng.random() < FAILED_SUPPRESSION_SHARE else 0.0
    return SequenceProtocol(
        *(role, description, float(repetition), float(echo), inversion, step, thickness),
        *(field, shift, upright, contrast, failed),
    )


def as_volume(protocol: SequenceProtocol, rng: np.random.Generator) -> SequenceProtocol:
    """The protocol of a T2 volume in place of a series of single slices, by the times that vendors recommend."""
    return replace(
        protocol,
        description=str(rng.choice(VOLUME_NAMES)),
        repetition_time=float(rng.uniform(1500, 2500)),
        echo_time=float(rng.uniform(90, 125)),
        inversion_time=None,
        failed_fat_suppression=0.0,
        volume=True,
    )


def _signal(density: float, t1: float, t2: float, protocol: SequenceProtocol) -> float:
    recovery, inversion = np.exp(-protocol.repetition_time / t1), protocol.inversion_time
    along = 1 - recovery if inversion is None else abs(1 - 2 * np.exp(-inversion / t1) + recovery)
    return float(density * along * np.exp(-protocol.echo_time / t2))


def _relaxations(anatomy: Anatomy) -> dict[int, tissue.Relaxation]:
    """The tissue table with this patient's marrow and discs: a degenerated nucleus loses water and T2."""
    table = dict(tissue.TABLE)
    marrow = table[tissue.MARROW]
    table[tissue.MARROW] = tissue.Relaxation(marrow.density, marrow.t1, marrow.t2, anatomy.marrow_fat)
    for disc, young in enumerate(anatomy.nucleus):
        t2 = float(np.exp(np.interp(young, (0, 1), (np.log(40), np.log(190)))))
        table[tissue.ANNULUS + disc] = tissue.Relaxation(0.62, 900, 36 + 16 * young)
        half = float(np.sqrt(t2 * (36 + 16 * young)))
        table[tissue.INNER + disc] = tissue.Relaxation(0.66 + 0.1 * young, 880 + 200 * young, half)
        table[tissue.NUCLEUS + disc] = tissue.Relaxation(0.70 + 0.22 * young, 850 + 450 * young, t2)
    return table


def _random_table(anatomy: Anatomy, rng: np.random.Generator) -> Complex64Array:
    """A random grey for every tissue, the same for all discs; air stays dark."""
    grey = rng.uniform(0.05, 0.95, tissue.N_IDS)
    for first in (tissue.ANNULUS, tissue.INNER, tissue.NUCLEUS):
        grey[first : first + len(anatomy.nucleus)] = grey[first] + rng.normal(0, 0.06, len(anatomy.nucleus))
    if abs(grey[tissue.CSF] - grey[tissue.ROOT]) < 0.1:
        grey[tissue.ROOT] = (grey[tissue.CSF] + 0.3) % 1
    grey[[tissue.AIR, tissue.METAL, tissue.OUTSIDE]] = 0.0
    return np.clip(grey, 0.02, 1).astype(np.complex64)


@dataclass(frozen=True, eq=False)
class Tables:
    """Signals of water and of fat per tissue id in the form of `cv2.LUT`, each (256,) float32."""

    water: Float32Array
    fat: Float32Array

    @classmethod
    def of(cls, table: Complex64Array) -> Tables:
        """The two parts of what `signals` gives."""
        longer = np.pad(table, (0, 256 - len(table)))
        return cls(longer.real.copy(), longer.imag.copy())


def signals(anatomy: Anatomy, protocol: SequenceProtocol, rng: np.random.Generator) -> Complex64Array:
    """Signal of water (real part) and fat (imaginary) per tissue id, (N_IDS,), the brightest tissue about one.

    Every tissue deviates a little from the literature, with "perturbed" far; "random" follows no physics.
    """
    spread = 0.30 if protocol.contrast == "perturbed" else 0.09
    off = np.exp(rng.normal(0, spread, (tissue.N_IDS, 3)))
    off[tissue.ANNULUS : tissue.INNER] = off[tissue.ANNULUS]
    off[tissue.INNER : tissue.NUCLEUS] = np.sqrt(off[tissue.ANNULUS] * off[tissue.NUCLEUS])
    off[tissue.NUCLEUS : tissue.MUSCLE] = off[tissue.NUCLEUS]
    if protocol.contrast == "random":
        return _random_table(anatomy, rng)
    slow = SLOWER_AT_3T if protocol.magnetic_field_strength > 2 else 1.0
    pure = tissue.PURE_FAT
    fat_t1 = pure.t1 * slow
    if protocol.inversion_time is not None:  # scanners null an effective fat T1
        fat_t1 = (238.0 if protocol.magnetic_field_strength < 2 else 308.0) * float(np.exp(rng.normal(0, 0.05)))
    fat = _signal(pure.density, fat_t1, pure.t2, protocol)
    fat += protocol.failed_fat_suppression * _signal(
        pure.density, fat_t1, pure.t2, replace(protocol, inversion_time=None)
    )
    table = np.zeros(tissue.N_IDS, dtype=np.complex64)
    for key, values in _relaxations(anatomy).items():
        density, t1, t2 = off[key] ** np.array([0.5, 1.0, 1.0])
        water = _signal(values.density * density, values.t1 * t1 * slow, values.t2 * t2, protocol)
        table[key] = (1 - values.fat) * water + 1j * values.fat * fat
    total = table.real + table.imag
    scaled: Complex64Array = (table / total.max()).astype(np.complex64)
    return scaled
