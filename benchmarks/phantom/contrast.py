"""Whether tissues have the order of brightness that each weighting gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.phantom.findings import Finding, Section, at_least, unknown
from evaluation.study_truth import StudyTruth
from lumbar_kernel.geometry import LEFT, POSTERIOR, posterior_direction
from lumbar_kernel.phantom import PhantomTruth
from lumbar_kernel.schema import AXIAL_T2, LEVELS, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Slice, Study

Points = NDArray[np.float64]
Signals = Mapping[str, Mapping[str, float]]
"""Weighting → region → median signal."""

STIR = "Sagittal STIR"
WEIGHTINGS = (SAGITTAL_T1, SAGITTAL_T2, STIR, AXIAL_T2)

ORDER = {
    SAGITTAL_T1: (("fat", "marrow", 1.0), ("marrow", "disc", 1.0), ("disc", "muscle", 0.7), ("muscle", "csf", 0.9)),
    SAGITTAL_T2: (
        ("csf", "fat", 0.8),
        ("fat", "marrow", 1.0),
        ("fat", "healthy_nucleus", 1.0),
        ("healthy_nucleus", "marrow", 1.0),
        ("marrow", "muscle", 1.0),
    ),
    STIR: (("csf", "marrow", 1.0), ("marrow", "fat", 0.8), ("csf", "muscle", 1.0)),
    AXIAL_T2: (("csf", "fat", 0.8), ("fat", "muscle", 1.0), ("csf", "disc", 1.0)),
}
"""Brighter region, darker region, and the least ratio of their signals: below 1 where the textbook says "about as
bright" and the coil shades, and where one of the two complete real studies is below it."""

HOLDS_IN = 0.8
"""Fraction of the studies in which an order has to hold; shading, saturation bands and fat streaks change some."""

ANTERIOR_MM, BEHIND_MM, BESIDE_MM = 15.0, 30.0, 18.0
"""Middle of a body or disc in front of the posterior margin; back muscle behind and lateral of the canal."""

SKIN_FAT_MM = (25.0, 130.0)
"""Distance behind the canal at which the brightest part of a T1 slice counts as fat; lean backs have little."""

READ_AS = {"csf": (85.0, 3.0), "muscle": (25.0, 3.0)}
"""Percentile and radius in mm of a region that something else runs through: roots, streaks of fat."""

STIR_RATIO = 3.0
"""Ratio of fluid to fat from which a series counts as fat-suppressed where this is not known."""

NONE_HEALTHY = (False,) * len(LEVELS)

NEAR_MM = 4.0
"""A region is read on slices at most so far away."""


def spots(study: Study, truth: PhantomTruth | StudyTruth, *, healthy: Sequence[bool]) -> dict[str, Points]:
    """Points (n, 3) in mm inside regions, which the landmarks lead to."""
    normal, canal, margin = truth.disc_normal, truth.canal, truth.disc_margin
    behind = posterior_direction(normal)
    between = 0.5 * (canal[:-1] + canal[1:])
    sides = np.concatenate([between + BEHIND_MM * behind[1:] + sign * BESIDE_MM * LEFT for sign in (1, -1)])
    return {
        "csf": np.concatenate([between, canal]),
        "marrow": 0.5 * (margin[:-1] + margin[1:]) - ANTERIOR_MM * behind[1:],
        "disc": margin - ANTERIOR_MM * behind,
        "healthy_nucleus": (margin - ANTERIOR_MM * behind)[np.array(healthy)],
        "muscle": sides,
        "fat": _skin_fat(study, canal[2:]),
    }


def _skin_fat(study: Study, canal: Points) -> Points:
    """The brightest 5 mm behind each canal point on its T1 slice; none without T1."""
    points = [np.empty((0, 3))]
    for centre in canal:
        away = np.arange(*SKIN_FAT_MM, 1.0)
        line = centre + away[:, None] * POSTERIOR
        item = _nearest(study.slices(SAGITTAL_T1), centre)
        if item is None:
            continue
        values = np.array([_around(item, point, 1.0, 50.0) for point in line])
        smooth = np.convolve(np.nan_to_num(values), np.ones(5) / 5, mode="same")
        points.append(line[[int(smooth.argmax())]])
    return np.concatenate(points)


def signals(
    study: Study,
    truth: PhantomTruth | StudyTruth,
    *,
    healthy: Sequence[bool] = NONE_HEALTHY,
    suppressed: bool | None = None,
) -> dict[str, dict[str, float]]:
    """Signal of each region in each weighting of a study; regions that no slice shows are left out.

    Args:
        study: the images.
        truth: of the study.
        healthy: (5,) whether the nucleus of each disc is young.
        suppressed: whether its sagittal T2 series is fat-suppressed; None decides by fluid and fat.
    """
    regions, found = spots(study, truth, healthy=healthy), {}
    for role in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2):
        slices = study.slices(role)
        measured = {name: _signal(slices, name, points) for name, points in regions.items()}
        found[role] = {name: value for name, value in measured.items() if not np.isnan(value)}
    fluid = found[SAGITTAL_T2]
    if suppressed is None:
        suppressed = fluid.get("csf", 0.0) > STIR_RATIO * fluid.get("fat", np.inf)
    if suppressed:
        found[STIR] = found.pop(SAGITTAL_T2)
    return found


def _signal(slices: Sequence[Slice], region: str, points: Points) -> float:
    """Median over the points of a region of a percentile of the pixels around each."""
    percentile, radius = READ_AS.get(region, (50.0, 2.0))
    near = ((_nearest(slices, point), point) for point in points)
    values = [_around(item, point, radius, percentile) for item, point in near if item is not None]
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else float("nan")


def _nearest(slices: Sequence[Slice], point: Points) -> Slice | None:
    """The nearest slice that shows a point at most `NEAR_MM` away."""
    distances = [abs(float(item.plane.distance(point))) for item in slices]
    if not distances or min(distances) > NEAR_MM:
        return None
    return slices[int(np.argmin(distances))]


def _around(item: Slice, point: Points, radius_mm: float, percentile: float) -> float:
    """A percentile of the pixels around a point; NaN where the frame ends."""
    row, column = item.plane.to_pixel(point)
    reach = max(1, round(radius_mm / item.plane.row_spacing)), max(1, round(radius_mm / item.plane.column_spacing))
    if not item.plane.contains(np.array([row, column]), margin=max(reach)):
        return float("nan")
    top, left = round(float(row)) - reach[0], round(float(column)) - reach[1]
    window = item.pixels[top : top + 2 * reach[0] + 1, left : left + 2 * reach[1] + 1]
    return float(np.percentile(window, percentile))


def order(found: Sequence[Signals], real: Sequence[Signals]) -> Section:
    """How often tissues have the right order, in phantoms and real studies."""
    findings = []
    for weighting in WEIGHTINGS:
        for bright, dark, least in ORDER[weighting]:
            ratio, true = _ratios(found, weighting, bright, dark), _ratios(real, weighting, bright, dark)
            what = f"{weighting}: {bright} {'>' if least == 1 else '≥'} {dark}, fraction of studies"
            findings.append(_order(what.replace("_", " "), ratio, true, least))
    return Section("Order of brightness", tuple(findings))


def _order(what: str, ratio: NDArray[np.float64], real: NDArray[np.float64], least: float) -> Finding:
    if not len(ratio):
        return unknown(what, f"≥ {HOLDS_IN}", "not exposed, or no such series")
    note = f"median ratio {np.median(ratio):.2f}, at least {least} expected; n {len(ratio)}"
    if len(real):
        note += f"; real {', '.join(f'{value:.2f}' for value in real)}"
    return at_least(what, float((ratio >= least).mean()), HOLDS_IN, note)


def _ratios(found: Sequence[Signals], weighting: str, bright: str, dark: str) -> NDArray[np.float64]:
    pairs = [item[weighting] for item in found if weighting in item]
    both = [(regions[bright], regions[dark]) for regions in pairs if bright in regions and dark in regions]
    return np.array([one / max(other, 1e-6) for one, other in both])
