"""`Study` → `Landmarks` in patient mm: maps of every sagittal slice, lifted to mm, decoded jointly into five levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR, unit
from lumbar_kernel.localisation.level_decoding import REACH_MM, Evidence, decode_levels, gather
from lumbar_kernel.models.heatmap_net import STRIDE, HeatmapNet
from lumbar_kernel.models.inference import run_batch
from lumbar_kernel.resampling import PixelGrid, centred_grid, normalise, sample, upright_axes
from lumbar_kernel.schema import LEVELS, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Slice, Study

FRAME = 256
"""Rows and columns of the square frame that every sagittal slice is brought to."""

POINTS = 2 * len(LEVELS)
"""Landmarks of the net: the posterior disc margin of the five levels, then the foramen of the five levels."""

CANAL_BEHIND_MARGIN_MM = 5.4
"""The challenge's canal point lies this far behind the posterior disc margin: mean of ten labelled levels (3-9 mm)."""

FORAMEN_OFFSET_MM = (3.0, 3.0)
"""Where a foramen is looked for, posterior and cranial of the disc margin of its level."""

FORAMEN_REACH_MM = 20.0
"""How far around that place its map is believed."""

SMALLEST_EVIDENCE = 0.01
"""Squared probability below which a foramen counts as unseen: about that of one slice that is a quarter sure."""

FORAMEN_LATERAL_MM = (14.7, 15.5, 16.4, 17.6, 18.8)
"""Usual distance of a foraminal slice from the canal, L1/L2 first: half the mean distance between the slices that
readers marked left and right in 490 studies of the challenge whose ImagePositionPatient is known."""

FORAMEN_SPREAD_MM = 5.0
"""Spread around that distance that costs little; the same studies have 3.2 mm, and localising the canal adds to it."""

SEEN = 0.3
"""Summed probability from which a disc margin counts as seen on one weighting."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Where the five levels of a study lie, mm LPS.

    Attributes:
        disc_margin: (5, 3) middle of the posterior margin of each disc.
        canal: (5, 3) middle of the dural sac at each disc.
        disc_normal: (5, 3) cranial unit normal of each disc.
        foramina: (5, 2, 3) level, side (left, right).
        confidence: (5,) share of the evidence for a level that agrees with the place chosen, 0..1.
        foramen_confidence: (5, 2) the same for the foramina; 0 means placed by geometry alone.
    """

    disc_margin: FloatArray
    canal: FloatArray
    disc_normal: FloatArray
    foramina: FloatArray
    confidence: FloatArray
    foramen_confidence: FloatArray


@dataclass(frozen=True, eq=False)
class SliceMaps:
    """What the net said about one slice.

    Attributes:
        grid: the frame the slice was brought to.
        maps: (landmarks, cells, cells) probability of each landmark in each cell; sums to less than 1.
    """

    grid: PixelGrid
    maps: NDArray[np.float32]

    def cell_centres(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        """Patient points of heatmap cells: two (n,) index arrays → (n, 3) mm LPS."""
        cells = np.stack([rows, columns], axis=-1).astype(np.float64)
        return self.grid.to_mm((cells + 0.5) * STRIDE - 0.5)


def frame_of(item: Slice) -> PixelGrid:
    """The square frame around a sagittal slice, upright, its longer side filling the frame."""
    down, right = upright_axes(item.plane, sagittal=True)
    return centred_grid(
        item.plane.centre, down=down, right=right, spacing=max(item.plane.extent_mm) / FRAME, shape=(FRAME, FRAME)
    )


def slice_maps(slices: Sequence[Slice], nets: Sequence[HeatmapNet], *, batch_size: int = 32) -> list[SliceMaps]:
    """Maps of sagittal slices, averaged over nets, one entry per slice."""
    grids = [frame_of(item) for item in slices]
    pictures = np.stack([normalise(sample(item, grid)) for item, grid in zip(slices, grids, strict=True)])
    maps = heatmaps(pictures, nets, batch_size=batch_size)
    return [SliceMaps(grid=grid, maps=said) for grid, said in zip(grids, maps, strict=True)]


def heatmaps(pictures: NDArray[np.float32], nets: Sequence[HeatmapNet], *, batch_size: int = 32) -> NDArray[np.float32]:
    """Probabilities of (n, rows, columns) pictures, averaged over nets: (n, landmarks, rows / 4, columns / 4)."""
    cells = (pictures.shape[1] // STRIDE, pictures.shape[2] // STRIDE)
    blocks = []
    for start in range(0, len(pictures), batch_size):
        block = torch.from_numpy(pictures[start : start + batch_size])[:, None]
        said = torch.stack([run_batch(net, block).exp() for net in nets]).mean(dim=0)[:, :, :-1]
        blocks.append(said.reshape(len(block), -1, *cells).numpy())
    return np.concatenate(blocks)


def localise(study: Study, nets: Sequence[HeatmapNet]) -> Landmarks:
    """The five levels of a study from all its sagittal slices.

    Args:
        study: needs at least one sagittal series.
        nets: localisers whose maps are averaged.

    Raises:
        LocalisationError: without sagittal slices, or when no chain of levels can be seen.
    """
    t1, t2 = study.slices(SAGITTAL_T1), study.slices(SAGITTAL_T2)
    if not t1 and not t2:
        msg = f"study {study.study_id} has no sagittal series to find the levels on"
        raise LocalisationError(msg)
    maps = slice_maps((*t1, *t2), nets)
    return decode(maps[: len(t1)], maps[len(t1) :])


def decode(t1: Sequence[SliceMaps], t2: Sequence[SliceMaps]) -> Landmarks:
    """Landmarks from the maps of all slices; foramina are read on T1 where there is T1."""
    levels = len(LEVELS)
    margin, confidence = decode_levels(gather([*t1, *t2], channels=range(levels)))
    normal = disc_normals(margin)
    behind = unit(POSTERIOR - (normal @ POSTERIOR)[:, None] * normal)
    canal = margin + CANAL_BEHIND_MARGIN_MM * behind
    # Readers' marks on lateral T1 slices taught the net where the canal ends; on T2 it knows that from phantoms only.
    middle = _with_lateral(margin, gather(t1, channels=range(levels))) if t1 else margin
    foraminal = [gather(maps, channels=range(levels, 2 * levels)) for maps in ([t1, t2] if t1 else [t2])]
    foramina, foramen_confidence = np.empty((levels, 2, 3)), np.zeros((levels, 2))
    for level in range(levels):
        expected = middle[level] + FORAMEN_OFFSET_MM[0] * behind[level] + FORAMEN_OFFSET_MM[1] * normal[level]
        for side, sign in enumerate((1.0, -1.0)):
            place, trust = _foramen(foraminal, level, expected=expected, sign=sign)
            foramina[level, side], foramen_confidence[level, side] = place, trust
    return Landmarks(
        disc_margin=margin,
        canal=canal,
        disc_normal=normal,
        foramina=foramina,
        confidence=confidence,
        foramen_confidence=foramen_confidence,
    )


def _with_lateral(margin: FloatArray, evidence: Evidence) -> FloatArray:
    """Disc margins (5, 3) with the lateral position that other evidence gives them, where it sees them."""
    moved = margin.copy()
    for level, (points, mass) in enumerate(zip(evidence.points, evidence.mass, strict=True)):
        near = np.hypot(*(points - margin[level])[:, 1:].T) < REACH_MM
        if mass[near].sum() > SEEN:
            moved[level, 0] = np.average(points[near, 0], weights=mass[near])
    return moved


def disc_normals(margin: FloatArray) -> FloatArray:
    """Cranial unit normals of the discs from their posterior margins, (5, 3) → (5, 3).

    A disc stands across the line through its neighbours; the end discs continue the bend of the line, which at
    L5/S1 is what tilts the disc.
    """
    segments = unit(margin[:-1] - margin[1:])
    inner = unit(segments[:-1] + segments[1:])
    first, last = unit(2 * segments[0] - inner[0]), unit(2 * segments[-1] - inner[-1])
    return np.concatenate([first[None], inner, last[None]])


def _foramen(sources: Sequence[Evidence], level: int, *, expected: FloatArray, sign: float) -> tuple[FloatArray, float]:
    """One foramen: its place and the share of one slice's certainty behind it.

    The first source with any evidence decides; where none has, the place is set by geometry with confidence 0.
    """
    usual, spread = FORAMEN_LATERAL_MM[level], FORAMEN_SPREAD_MM
    for evidence in sources:
        # Squared, so that slices on which the foramen stands out count for more than those that merely show it.
        points, mass = evidence.points[level], evidence.mass[level] ** 2
        offset = points - expected
        lateral = sign * offset @ LEFT
        near = np.hypot(offset @ POSTERIOR, offset @ CRANIAL) < FORAMEN_REACH_MM
        weight = mass * near * (lateral > 5) * (lateral < 34) * np.exp(-0.5 * ((lateral - usual) / spread) ** 2)
        if weight.sum() < SMALLEST_EVIDENCE:
            continue
        # Evidence within one foramen around the strongest slice, so that a second peak does not pull the mean.
        best = points[np.argmax(_smoothed(points, weight))]
        weight = weight * np.exp(-0.5 * (np.linalg.norm((points - best) * (0.7, 1, 1), axis=1) / 6.0) ** 2)
        near = np.linalg.norm(points - best, axis=1) < FORAMEN_REACH_MM / 2
        return weight @ points / weight.sum(), float(min(1.0, evidence.mass[level][near].sum()))
    return expected + sign * usual * LEFT, 0.0


def _smoothed(points: FloatArray, weight: FloatArray, *, radius: float = 5.0) -> FloatArray:
    """Sum of the weights around each point, so that one strong cell does not beat a strong neighbourhood."""
    strongest = np.argsort(weight)[-200:]
    distance = np.linalg.norm(points[:, None] - points[None, strongest], axis=2)
    return np.asarray((distance < radius) @ weight[strongest] * (weight > 0))
