"""One seed → one phantom study in memory, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lumbar_kernel import schema
from lumbar_kernel.phantom.acquire import acquire
from lumbar_kernel.phantom.anatomy import Anatomy, draw_anatomy
from lumbar_kernel.phantom.body import Body
from lumbar_kernel.phantom.contrast import CONTRASTS, SequenceProtocol, as_volume, draw_protocol
from lumbar_kernel.phantom.frame import SpineFrame, build_frame
from lumbar_kernel.phantom.measure import PhantomTruth, measure
from lumbar_kernel.phantom.painting import PaintedBody, paint_canal, paint_spine
from lumbar_kernel.phantom.prescription import Prescription, prescribe_axial, prescribe_sagittal, prescribe_volume
from lumbar_kernel.phantom.spine import Spine
from lumbar_kernel.phantom.texture import Texture
from lumbar_kernel.study import Study

SHARED_SHARE = 0.85
"""Fraction of studies whose two sagittal series show the same slices."""


@dataclass(frozen=True, eq=False)
class PhantomStudy:
    """A synthetic study with its truth and what is needed to write it as DICOM.

    Attributes:
        study: the images, as if read from files.
        truth: landmarks in mm and grades, measured from the painted geometry.
        protocols: one per series of the study, in the same order.
        anatomy: the numbers that the patient was built from.
        frame: coordinate system of the spine.
    """

    study: Study
    truth: PhantomTruth
    protocols: tuple[SequenceProtocol, ...]
    anatomy: Anatomy
    frame: SpineFrame


def _stream(seed: int | np.random.SeedSequence, *key: int) -> np.random.Generator:
    """A separate generator for each purpose, so that leaving one out does not change the others."""
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return np.random.default_rng(np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, *key)))


def draw_patient(seed: int | np.random.SeedSequence, *, balanced: bool = False) -> Anatomy:
    """The anatomy that `make_phantom` uses for a seed."""
    return draw_anatomy(_stream(seed, 0), balanced=balanced)


def make_spine(seed: int | np.random.SeedSequence, *, balanced: bool = False, anatomy: Anatomy | None = None) -> Spine:
    """The spine that `make_phantom` paints for a seed."""
    anatomy = anatomy or draw_patient(seed, balanced=balanced)
    return Spine(anatomy, build_frame(anatomy, _stream(seed, 1)))


def make_truth(
    seed: int | np.random.SeedSequence, *, balanced: bool = False, anatomy: Anatomy | None = None
) -> PhantomTruth:
    """Landmarks and grades of a seed without any image: the truth of `make_phantom`, about a tenth of a second."""
    spine = make_spine(seed, balanced=balanced, anatomy=anatomy)
    return measure(spine, paint_canal(spine))


def make_phantom(
    seed: int | np.random.SeedSequence,
    *,
    study_id: str,
    balanced: bool = False,
    contrast: str = CONTRASTS[0],
    roles: tuple[str, ...] = schema.SERIES_DESCRIPTIONS,
    anatomy: Anatomy | None = None,
    volume: bool = False,
    fat_share: Mapping[str, float] | None = None,
) -> PhantomStudy:
    """Make one study; the same seed gives the same pixels, truth and numbers for any choice of roles.

    Args:
        seed: the only source of randomness.
        study_id: numeric string, also the stem of the series ids.
        balanced: make stenosis much more common than in the competition, for training.
        contrast: one of `CONTRASTS`; all but the first are for training.
        roles: which of `schema.SERIES_DESCRIPTIONS` to acquire; fewer take less time.
        anatomy: build this patient instead of drawing one (pose and scanner still follow the seed).
        volume: acquire sagittal T2 as one volume of cubic voxels (SPACE, CUBE, VISTA); its noise and contrast are the
            series' own, all else is the same study.
        fat_share: role → fraction of the fat signal in its images, as the images of a Dixon sequence have it; 1 where
            a role is absent.
    """
    unknown = set(roles) - set(schema.SERIES_DESCRIPTIONS)
    if unknown:
        msg = f"unknown roles {sorted(unknown)}; choose from {', '.join(schema.SERIES_DESCRIPTIONS)}"
        raise ValueError(msg)
    if contrast not in CONTRASTS:
        msg = f"unknown contrast {contrast!r}; choose from {', '.join(CONTRASTS)}"
        raise ValueError(msg)
    spine = make_spine(seed, balanced=balanced, anatomy=anatomy)
    anatomy, frame = spine.anatomy, spine.frame
    if not roles:
        return PhantomStudy(Study(study_id, ()), measure(spine, paint_canal(spine)), (), anatomy, frame)
    painted = paint_patient(seed, spine)
    field = 3.0 if _stream(seed, 5).random() < 0.35 else 1.5
    taken = []
    for number, role in enumerate(schema.SERIES_DESCRIPTIONS):
        if role in roles:
            rng = _stream(seed, 3, number)
            protocol = draw_protocol(rng, role, field=field, contrast=contrast)
            protocol = replace(protocol, fat_share=(fat_share or {}).get(role, 1.0))
            plans = prescriptions(seed, frame, role)
            if volume and role == schema.SAGITTAL_T2:
                protocol, plans = as_volume(protocol, rng), [prescribe_volume(frame, _stream(seed, 9))]
            for part, plan in enumerate(plans):
                series_id = f"{study_id}{number + 1}" if part == 0 else f"{study_id}{number + 1}{part}"
                taken.append(acquire(painted, plan, protocol, series_id, rng))
    series, protocols = (tuple(items) for items in zip(*taken, strict=True))
    return PhantomStudy(Study(study_id, series), measure(spine, painted.grid), protocols, anatomy, frame)


def paint_patient(seed: int | np.random.SeedSequence, spine: Spine) -> PaintedBody:
    """The painted body that `make_phantom` scans for a seed, to acquire further series of."""
    body = Body.draw(spine.anatomy, spine.frame, _stream(seed, 2))
    return PaintedBody(spine.anatomy, spine.frame, body, Texture.draw(_stream(seed, 4)), paint_spine(spine))


def prescriptions(seed: int | np.random.SeedSequence, frame: SpineFrame, role: str) -> list[Prescription]:
    """Prescriptions of the series of a role; both sagittal series share one in most studies."""
    if role == schema.AXIAL_T2:
        return prescribe_axial(frame, _stream(seed, 6))
    shared = _stream(seed, 7).random() < SHARED_SHARE
    return [prescribe_sagittal(frame, _stream(seed, 8, 0 if shared or role == schema.SAGITTAL_T1 else 1))]
