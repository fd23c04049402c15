"""One seed → one phantom study in memory, with its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lumbar_kernel import schema
from lumbar_kernel.phantom.acquire import Scene, acquire
from lumbar_kernel.phantom.anatomy import Anatomy, draw_anatomy
from lumbar_kernel.phantom.background import Body
from lumbar_kernel.phantom.contrast import Protocol
from lumbar_kernel.phantom.frame import SpineFrame, build_frame
from lumbar_kernel.phantom.grid import Grid
from lumbar_kernel.phantom.measure import PhantomTruth, measure
from lumbar_kernel.phantom.scene import paint
from lumbar_kernel.phantom.spine import Spine
from lumbar_kernel.study import Study

VOXEL = 0.6
"""Edge of a voxel of the painted spine, mm."""


@dataclass(frozen=True, eq=False)
class PhantomStudy:
    """A synthetic study with its truth and what is needed to write it as DICOM.

    Attributes:
        study: the images, as if read from files.
        truth: landmarks in mm and grades, measured from the painted geometry.
        protocols: one per series of the study, in the same order.
        anatomy: the numbers that the patient was built from.
        frame: where the spine lies.
    """

    study: Study
    truth: PhantomTruth
    protocols: tuple[Protocol, ...]
    anatomy: Anatomy
    frame: SpineFrame


def _stream(seed: int | np.random.SeedSequence, *key: int) -> np.random.Generator:
    """A generator of its own for each purpose, so that leaving one out does not change the others."""
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return np.random.default_rng(np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, *key)))


def draw_patient(seed: int | np.random.SeedSequence, *, balanced: bool = False) -> Anatomy:
    """The anatomy that `make_phantom` uses for a seed."""
    return draw_anatomy(_stream(seed, 0), balanced=balanced)


def make_truth(
    seed: int | np.random.SeedSequence, *, balanced: bool = False, anatomy: Anatomy | None = None
) -> PhantomTruth:
    """Landmarks and grades of a seed without any image: the truth of `make_phantom`, about a tenth of a second."""
    anatomy = anatomy or draw_patient(seed, balanced=balanced)
    return measure(Spine(anatomy, build_frame(anatomy, _stream(seed, 1))))


def make_phantom(
    seed: int | np.random.SeedSequence,
    *,
    study_id: str,
    balanced: bool = False,
    roles: tuple[str, ...] = schema.SERIES_DESCRIPTIONS,
    anatomy: Anatomy | None = None,
) -> PhantomStudy:
    """Make one study; the same seed gives the same pixels, truth and numbers whatever roles are asked for.

    Args:
        seed: the only source of chance.
        study_id: numeric string, also the stem of the series ids.
        balanced: make narrowing much commoner than in the competition, for training.
        roles: which of `schema.SERIES_DESCRIPTIONS` to take; leaving some out saves their time.
        anatomy: build this patient instead of drawing one (pose and scanner still follow the seed).
    """
    unknown = set(roles) - set(schema.SERIES_DESCRIPTIONS)
    if unknown:
        msg = f"unknown roles {sorted(unknown)}; choose from {', '.join(schema.SERIES_DESCRIPTIONS)}"
        raise ValueError(msg)
    anatomy = anatomy or draw_patient(seed, balanced=balanced)
    frame = build_frame(anatomy, _stream(seed, 1))
    spine = Spine(anatomy, frame)
    series, protocols = [], []
    if roles:
        scene = Scene(anatomy, frame, Body.draw(anatomy, frame, _stream(seed, 2)), _painted(spine))
    for number, role in enumerate(schema.SERIES_DESCRIPTIONS):
        if role in roles:
            taken, protocol = acquire(scene, role, f"{study_id}{number + 1}", _stream(seed, 3, number))
            series.append(taken)
            protocols.append(protocol)
    return PhantomStudy(Study(study_id, tuple(series)), measure(spine), tuple(protocols), anatomy, frame)


def _painted(spine: Spine) -> Grid:
    """The whole spine from T10 to S3, with a shell of nothing so that samples outside it read OUTSIDE."""
    body_s = spine.frame.body_s
    grid = Grid.empty((-46, 46), (-46, 60), (float(body_s[-1]) - 10, float(body_s[0]) + 12), VOXEL)
    paint(spine, grid)
    for axis in range(3):
        np.moveaxis(grid.ids, axis, 0)[[0, -1]] = 0
    return grid
