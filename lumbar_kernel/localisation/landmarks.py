"""`Study` → `Landmarks` in patient mm: the heatmaps of all sagittal slices, decoded jointly into five levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR, SIDE_SIGNS, posterior_direction, unit
from lumbar_kernel.localisation.confidence import foramen_confidence, level_confidence
from lumbar_kernel.localisation.coverage import doubt_of_count
from lumbar_kernel.localisation.level_decoding import REACH_MM, Evidence, decode_levels, gather
from lumbar_kernel.localisation.slice_maps import FORAMINA, MARGINS, SliceMaps, slice_maps
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.schema import LEVELS, SAGITTAL_T1, SAGITTAL_T2, per_level
from lumbar_kernel.study import Study

CANAL_BEHIND_MARGIN_MM = 5.4
"""Distance of the challenge's canal point behind the posterior disc margin: mean of ten labelled levels (3-9 mm)."""

FORAMEN_OFFSET_MM = (3.0, 3.0)
"""Expected place of a foramen, posterior and cranial of the disc margin of its level."""

FORAMEN_REACH_MM = 20.0
"""Radius around that place within which its heatmap counts."""

MIN_EVIDENCE = 0.01
"""Squared probability below which a foramen counts as not visible: about one slice with a probability of a quarter."""

FORAMEN_LATERAL_MM = per_level(14.7, 15.5, 16.4, 17.6, 18.8)
"""Usual distance of a foraminal slice from the canal, L1/L2 first: half the mean distance between the slices that
readers marked left and right in 490 studies of the challenge whose ImagePositionPatient is known."""

FORAMEN_SPREAD_MM = 5.0
"""Spread around that distance; the same studies have 3.2 mm, and the error of the localised canal adds to it."""

FORAMEN_LATERAL_LIMITS_MM = (5.0, 34.0)
"""Nearest and farthest a foramen may lie from the canal."""

FORAMEN_SIZE_MM = 6.0
"""Spread of the evidence that belongs to one foramen, in the plane; slices are farther apart than pixels, so that
lateral distances count `FORAMEN_LATERAL_SHARE` of themselves."""

FORAMEN_LATERAL_SHARE = 0.7

SEEN = 0.3
"""Summed probability from which a disc margin counts as visible on one weighting."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Positions of the five levels of a study, mm LPS.

    Attributes:
        disc_margin: (5, 3) middle of the posterior margin of each disc.
        canal: (5, 3) middle of the dural sac at each disc.
        disc_normal: (5, 3) cranial unit normal of each disc.
        foramina: (5, 2, 3) level, side (left, right).
        evidence: (5,) fraction of the evidence for a level that agrees with the chosen place, 0..1.
        foramen_evidence: (5, 2) summed probability around each foramen on the series that it is read on, at most 1; 0
            means placed by geometry, or by T2 where there is T1.
        confidence: (5,) estimated probability that the level lies within `confidence.WITHIN_MM` of a reader's mark.
        foramen_confidence: (5, 2) the same for the foramina.
    """

    disc_margin: FloatArray
    canal: FloatArray
    disc_normal: FloatArray
    foramina: FloatArray
    evidence: FloatArray
    foramen_evidence: FloatArray
    confidence: FloatArray
    foramen_confidence: FloatArray

    def doubted(self) -> Landmarks:
        """The same with half the confidence in the levels, which may be counted wrongly; grades stay."""
        return replace(self, confidence=0.5 * self.confidence)


def localise(study: Study, nets: Sequence[HeatmapNet]) -> Landmarks:
    """The five levels of a study from all its sagittal slices.

    Args:
        study: needs at least one sagittal series.
        nets: localisers whose maps are averaged.

    Raises:
        LocalisationError: there is no sagittal slice, or no plausible row of five levels.
    """
    t1, t2 = study.slices(SAGITTAL_T1), study.slices(SAGITTAL_T2)
    if not t1 and not t2:
        msg = f"study {study.study_id} has no sagittal series to find the levels on"
        raise LocalisationError(msg)
    maps = slice_maps((*t1, *t2), nets)
    found = decode(maps[: len(t1)], maps[len(t1) :])
    return found.doubted() if doubt_of_count((*t1, *t2), found.disc_margin) else found


def decode(t1: Sequence[SliceMaps], t2: Sequence[SliceMaps]) -> Landmarks:
    """Landmarks from the maps of all slices; foramina are read on T1 where there is T1."""
    margin, evidence = decode_levels(gather([*t1, *t2], channels=MARGINS))
    normal = disc_normals(margin)
    behind = posterior_direction(normal)
    canal = margin + CANAL_BEHIND_MARGIN_MM * behind
    # Labels on lateral T1 slices train the network where the canal ends; on T2 only phantoms do.
    middle = _with_lateral(margin, gather(t1, channels=MARGINS)) if t1 else margin
    expected = middle + FORAMEN_OFFSET_MM[0] * behind + FORAMEN_OFFSET_MM[1] * normal
    foramina, foramen_evidence = find_foramina([t1, t2] if t1 else [t2], expected)
    return Landmarks(
        disc_margin=margin,
        canal=canal,
        disc_normal=normal,
        foramina=foramina,
        evidence=evidence,
        foramen_evidence=foramen_evidence,
        confidence=level_confidence([*t1, *t2], margin),
        foramen_confidence=foramen_confidence(t1 or t2, foramina),
    )


def find_foramina(sources: Sequence[Sequence[SliceMaps]], expected: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The foramina of both sides at five levels.

    Args:
        sources: maps of the slices of one series each; the first with evidence decides.
        expected: (5, 3) where they are in height and depth, in the patient's middle, mm LPS.

    Returns:
        Places (5, 2, 3), left before right, and the summed probability around each on the first source, (5, 2), at
        most 1: what another one shows says nothing of the slices that are graded.
    """
    evidence = [gather(maps, channels=FORAMINA) for maps in sources]
    foramina, trust = np.empty((len(LEVELS), 2, 3)), np.zeros((len(LEVELS), 2))
    for level in range(len(LEVELS)):
        for side, sign in enumerate(SIDE_SIGNS):
            place = _foramen(evidence, level, expected=expected[level], sign=sign)
            foramina[level, side], trust[level, side] = place
    return foramina, trust


def _with_lateral(margin: FloatArray, evidence: Evidence) -> FloatArray:
    """Disc margins (5, 3) with the lateral position of other evidence, where they are visible in it."""
    moved = margin.copy()
    for level, (points, mass) in enumerate(zip(evidence.points, evidence.mass, strict=True)):
        near = np.hypot(*(points - margin[level])[:, 1:].T) < REACH_MM
        if mass[near].sum() > SEEN:
            moved[level, 0] = np.average(points[near, 0], weights=mass[near])
    return moved


def disc_normals(margin: FloatArray) -> FloatArray:
    """Cranial unit normals of the discs from their posterior margins, (5, 3) → (5, 3).

    A disc is perpendicular to the line through its neighbours; the end discs continue the bend of that line, which
    gives L5/S1 its tilt.
    """
    segments = unit(margin[:-1] - margin[1:])
    inner = unit(segments[:-1] + segments[1:])
    first, last = unit(2 * segments[0] - inner[0]), unit(2 * segments[-1] - inner[-1])
    return np.concatenate([first[None], inner, last[None]])


def _foramen(sources: Sequence[Evidence], level: int, *, expected: FloatArray, sign: float) -> tuple[FloatArray, float]:
    """One foramen: its place and the summed probability around it on the first source, at most 1.

    The first source with evidence decides; without any, the place is set by geometry.
    """
    usual, spread = FORAMEN_LATERAL_MM[level], FORAMEN_SPREAD_MM
    least, most = FORAMEN_LATERAL_LIMITS_MM
    for index, evidence in enumerate(sources):
        # Squared, so that slices that show the foramen clearly count more than those that barely show it.
        points, mass = evidence.points[level], evidence.mass[level] ** 2
        offset = points - expected
        lateral = sign * offset @ LEFT
        near = np.hypot(offset @ POSTERIOR, offset @ CRANIAL) < FORAMEN_REACH_MM
        weight = mass * near * (lateral > least) * (lateral < most) * np.exp(-0.5 * ((lateral - usual) / spread) ** 2)
        if weight.sum() < MIN_EVIDENCE:
            continue
        # Only evidence within one foramen around the strongest slice, so that a second peak does not shift the mean.
        best = points[np.argmax(_smoothed(points, weight))]
        apart = np.linalg.norm((points - best) * (FORAMEN_LATERAL_SHARE, 1, 1), axis=1)
        weight = weight * np.exp(-0.5 * (apart / FORAMEN_SIZE_MM) ** 2)
        near = np.linalg.norm(points - best, axis=1) < FORAMEN_REACH_MM / 2
        seen = float(min(1.0, evidence.mass[level][near].sum()))
        return weight @ points / weight.sum(), seen if index == 0 else 0.0
    return expected + sign * usual * LEFT, 0.0


def _smoothed(points: FloatArray, weight: FloatArray) -> FloatArray:
    """Sum of the weights within 5 mm of each point, so that a strong neighbourhood beats one strong cell."""
    strongest, weighted = np.argsort(weight)[-200:], np.flatnonzero(weight > 0)
    distance = np.linalg.norm(points[weighted, None] - points[None, strongest], axis=2)
    smoothed = np.zeros(len(weight))
    smoothed[weighted] = (distance < 5.0) @ weight[strongest]
    return smoothed
