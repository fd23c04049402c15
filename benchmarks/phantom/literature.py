"""Sizes of phantoms compared with those of people, from the literature and the challenge's own labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.phantom.findings import Finding, Section, at_least, near, unknown
from lumbar_kernel.localisation.landmarks import FORAMEN_LATERAL_MM
from lumbar_kernel.phantom import Anatomy, PhantomTruth
from lumbar_kernel.phantom.bones import SAG
from lumbar_kernel.phantom.frame import build_frame
from lumbar_kernel.schema import LEVEL_NAMES, SIDES

Quantities = Mapping[str, NDArray[np.float64]]

DISCS = LEVEL_NAMES
BODIES = ("L1", "L2", "L3", "L4", "L5")
GAPS = ("L2", "L3", "L4", "L5")
WHOLE = ("",)

MEAN_TOLERANCE = 0.3
"""Of the literature's standard deviation; samples are large, so that chance adds little."""

SPREAD_RANGE = (0.5, 2.0)
"""Of the literature's standard deviation, in which the phantoms' must lie: sources differ by as much themselves."""

MIN_MEASURED = 30

DEGENERATED = (0.944, 0.934, 0.910, 0.868, 0.873)
"""Mean fraction of its young height that a disc keeps, from the Pfirrmann mix of a population of 55 ± 15 years."""

SUPINE = 0.92
"""Lordosis lying over lordosis standing."""


@dataclass(frozen=True)
class Expected:
    """A quantity of the literature.

    Attributes:
        name: of the quantity, see `quantities`.
        places: what each number belongs to.
        mean, spread: one number a place; the spread is between patients.
        source: where they come from.
    """

    name: str
    places: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    source: str


def _expected(name: str, places: tuple[str, ...], mean: ArrayLike, spread: ArrayLike, source: str) -> Expected:
    means, spreads = np.asarray(mean, dtype=float), np.broadcast_to(np.asarray(spread, dtype=float), len(places))
    return Expected(name, places, tuple(means.tolist()), tuple(spreads.tolist()), source)


def _degenerated(young: Sequence[float]) -> NDArray[np.float64]:
    return np.array(young) * DEGENERATED


POSTERIOR_BODY = (28.8, 29.3, 29.0, 27.9, 26.3)
POSTERIOR_DISC = _degenerated((6.0, 6.9, 7.6, 8.2, 6.8))
SEGMENTS = np.array((1.2, 5.9, 9.1, 12.7, 21.6)) * SUPINE
SEGMENT_SPREAD = np.array((3.6, 4.1, 4.2, 5.1, 7.7))

MEANS = (
    # From the landmarks of any phantom.
    _expected(
        "margin_step",
        GAPS,
        np.array(POSTERIOR_BODY[1:]) + 0.5 * (POSTERIOR_DISC[:-1] + POSTERIOR_DISC[1:]),
        2.5,
        "posterior body height and half the adjacent degenerated discs; Cook 2021, Panjabi 1992",
    ),
    _expected(
        "disc_plane_angle",
        GAPS,
        0.5 * (SEGMENTS[:-1] + SEGMENTS[1:]),
        0.5 * np.hypot(SEGMENT_SPREAD[:-1], SEGMENT_SPREAD[1:]),
        "segmental lordosis, supine; Sci Rep 2022 s41598-022-21840-x",
    ),
    _expected("disc_plane_lordosis", WHOLE, [0.5 * (SEGMENTS[:-1] + SEGMENTS[1:]).sum()], 8.0, "the same"),
    _expected(
        "margin_lean",
        GAPS,
        (-11.0, -6.9, 1.3, 12.6),
        (5.7, 5.9, 7.1, 9.2),
        "from one posterior margin to the next in 406 patients of Sudirman and 166 of SPIDER, means of both",
    ),
    _expected("margin_lordosis", WHOLE, [23.6], 11.4, "from L2 to L5, in 391 and 166 of them"),
    _expected("canal_behind_margin", WHOLE, [5.4], 1.7, "ten labelled levels of the challenge, 3 to 9 mm"),
    _expected("foramen_lateral", DISCS, FORAMEN_LATERAL_MM, 3.2, "marked slices of 490 studies of the challenge"),
    _expected(
        "recess_spread", DISCS, (17.1, 16.0, 15.1, 14.0, 14.8), 2.8, "883 labelled crops, field of 170 mm assumed"
    ),
    # Of what a phantom is built of, or measures of itself.
    _expected("age", WHOLE, [55], 15, "43,255 reports: Caton 2021"),
    _expected("bmi", WHOLE, [27.4], 4.9, "design: median 27, CV 0.18"),
    _expected("lordosis", WHOLE, [46], 10, "supine MRI: Anat Res Int 2014:351769"),
    _expected("conus", WHOLE, [1.60], 0.42, "504 adults: Saifuddin 1998"),
    _expected("body_height_anterior", BODIES, (27.5, 28.5, 29.0, 29.2, 30.3), 1.9, "Cook 2021, L5"),
    _expected("body_height_posterior", BODIES, POSTERIOR_BODY, 1.9, "Cook 2021, L5"),
    _expected("body_depth", BODIES, (32, 33, 34, 35, 35.7), 2.8, "Panjabi 1992, Cook 2021"),
    _expected("body_width", BODIES, (41, 42.5, 44, 46.5, 48), 3.0, "Panjabi 1992"),
    _expected("pedicle_width", BODIES, (8.7, 8.9, 10.3, 12.9, 16.1), 1.8, "Zindrick 1987, Cook 2021"),
    _expected("bony_canal_depth", BODIES, (17.5, 16.8, 16.3, 16.5, 15.6), 2.1, "Cook 2021, Griffith 2016"),
    _expected("bony_canal_width", BODIES, (22.5, 23, 24, 25.5, 28.2), 2.6, "Cook 2021"),
    _expected(
        "disc_height_anterior", DISCS, _degenerated((8.5, 10.3, 12.3, 14.3, 15.3)), 1.9, "two MRI series, degenerated"
    ),
    _expected(
        "disc_height_middle", DISCS, _degenerated((8.6, 9.9, 10.9, 12.1, 11.3)), 1.9, "two MRI series, degenerated"
    ),
    _expected("disc_height_posterior", DISCS, POSTERIOR_DISC, 1.5, "two MRI series, degenerated"),
    _expected("disc_depth", DISCS, (30.2, 32.0, 32.9, 33.1, 31.3), 2.5, "MRI of 14"),
    _expected("disc_width", DISCS, (42, 45, 48, 51, 51), 3.2, "endplate and 1 to 2 mm"),
    _expected("segment_angle", DISCS, SEGMENTS, SEGMENT_SPREAD, "n = 324, supine: Sci Rep 2022"),
    _expected(
        "sac_area", DISCS, (170, 154, 141, 141, 135), (35, 35, 38, 50, 45), "629 volunteers at 55 years; Lim 2017"
    ),
    _expected("sac_depth", DISCS, (15.5, 14.5, 13.5, 13, 12), 1.8, "design; Pierro 2017"),
    _expected("sac_width", DISCS, (16.5, 16.5, 17, 17.5, 15.5), 2.2, "design"),
    _expected("root_area", DISCS, (50, 45, 36, 27, 18), (6.0, 5.4, 4.3, 3.2, 2.2), "design, CV 0.12"),
    _expected("posterior_fat", DISCS, (4.5,) * 5, 1.7, "3 to 6 mm; 7.35 ± 1.68 at the thickest"),
    _expected("flavum", DISCS, (2.9, 3.2, 3.45, 3.77, 3.72), (0.8, 0.9, 0.97, 1.14, 1.2), "200 patients, MRI"),
    _expected("facet_angle", DISCS, (26, 30.4, 38.7, 47.0, 47.3), (7, 7, 8, 9, 9), "620 CTs"),
    _expected("foramen_height", DISCS, (20.5, 21.5, 21, 19.5, 16.5), 2.2, "969 CTs: Neurosurgery 2024;94:813"),
    _expected("foramen_width", DISCS, (9.5, 9.5, 9, 8.5, 8.5), 1.4, "Gkasdaris 2018"),
    _expected("foramen_area", DISCS, (125, 145, 155, 140, 110), 25, "design"),
    _expected("recess_height", DISCS, (6.7,) * 5, 1.7, "bony depth of 300 CTs, 4 to 14 mm"),
    _expected("ganglion", DISCS, (4.2, 4.7, 5.2, 5.7, 6.1), 0.7, "350 patients: Khasawneh 2023"),
)


@dataclass(frozen=True)
class ExpectedShare:
    """Expected frequency of a finding: a quantity, the test on it, the expected fraction and its tolerance."""

    what: str
    name: str
    low: float
    high: float
    share: float
    tolerance: float
    level: int | None
    source: str


INFINITE = float("inf")
SHARES = (
    ExpectedShare("scoliosis, Cobb angle ≥ 11°", "cobb", 11, INFINITE, 0.088, 0.04, None, "Kebaish 2011"),
    ExpectedShare("women", "female", 0.5, 1.5, 0.55, 0.03, None, "Caton 2021"),
    ExpectedShare("transitional vertebra", "transitional", 0.5, 1.5, 0.11, 0.03, None, "Bhagchandani 2024"),
    ExpectedShare("operated", "postoperative", 0.5, 1.5, 0.07, 0.03, None, "design"),
    ExpectedShare("Pfirrmann I", "pfirrmann", 0.5, 1.5, 0.14, 0.05, None, "494 discs"),
    ExpectedShare("Pfirrmann II", "pfirrmann", 1.5, 2.5, 0.26, 0.05, None, "494 discs"),
    ExpectedShare("Pfirrmann III", "pfirrmann", 2.5, 3.5, 0.27, 0.05, None, "494 discs"),
    ExpectedShare("Pfirrmann IV", "pfirrmann", 3.5, 4.5, 0.30, 0.05, None, "494 discs"),
    ExpectedShare("Pfirrmann V", "pfirrmann", 4.5, 5.5, 0.04, 0.03, None, "494 discs"),
    ExpectedShare("herniation", "herniation", 0.5, INFINITE, 0.176, 0.05, None, "26,440 discs, at 55 years"),
    ExpectedShare("herniation, L4/L5", "herniation", 0.5, INFINITE, 0.31, 0.06, 3, "26,440 discs, at 55 years"),
    ExpectedShare("slip, L4/L5", "slip", 2.0, INFINITE, 0.10, 0.05, 3, "design"),
    ExpectedShare("Modic change, of patients", "modic", 0.5, INFINITE, 0.22, 0.08, -1, "PLoS ONE 2014 e114993"),
)
"""A level of None takes all values as they are, -1 the highest of each patient."""


LUMBAR = slice(3, 8)
"""L1 to L5 among the vertebrae T10 to S3 of an anatomy, and the discs below them."""

BUILT = {
    "body_height": "body_height_posterior",
    "body_width": "body_width",
    "body_depth": "body_depth",
    "canal_width": "bony_canal_width",
    "pedicle_width": "pedicle_width",
    "disc_height": "disc_height_posterior",
    "sac_depth": "sac_depth",
    "sac_width": "sac_width",
    "root_area": "root_area",
    "flavum": "flavum",
    "ganglion": "ganglion",
    "joint_angle": "facet_angle",
    "slip": "slip",
}
"""Field of an anatomy → quantity; bone is built exactly so, soft tissue as far as there is room."""

PFIRRMANN_NUCLEUS = np.array([0.8875, 0.606, 0.355, 0.03])
"""Signal of a nucleus at and below which a disc is of grade II, III, IV and V: thresholds of degeneration."""

CONUS_ZERO = 1.13
"""An anatomy counts discs, 3.0 at the middle of L1/L2; the literature's coordinate, 1 at the upper end of L1, is
1.87 there."""


SIZES = frozenset(expected.name for expected in (*MEANS, *SHARES))
"""What can be read off a scan with a ruler; measures that only make up a score are not among them."""


def quantities(truth: PhantomTruth, anatomy: Anatomy) -> dict[str, NDArray[np.float64]]:
    """What is known of one phantom: from its landmarks, from what it was built of, and what it measures of itself.

    Shapes are () for a patient, (levels,) or (levels, sides); mm, mm² and degrees.
    """
    return _from_landmarks(truth) | _from_anatomy(anatomy) | _from_frame(anatomy) | _from_measures(truth)


def _from_landmarks(truth: PhantomTruth) -> dict[str, NDArray[np.float64]]:
    normal, canal = truth.disc_normal, truth.canal
    lean = np.degrees(np.arctan2(-normal[:, 1], normal[:, 2]))
    sideways = np.degrees(np.arctan2(normal[:, 0], normal[:, 2]))
    steps = np.diff(truth.disc_margin, axis=0)
    leaning = np.degrees(np.arctan2(steps[:, 1], -steps[:, 2]))
    return {
        "margin_step": np.linalg.norm(steps, axis=1),
        "margin_lean": leaning,
        "margin_lordosis": np.array(leaning[3] - leaning[0]),
        "disc_plane_angle": np.diff(lean),
        "disc_plane_lordosis": np.array(lean[-1] - lean[0]),
        "canal_behind_margin": np.linalg.norm((canal - truth.disc_margin)[:, 1:], axis=1),
        "foramen_lateral": 0.5 * (truth.foramina[:, 0, 0] - truth.foramina[:, 1, 0]),
        "recess_spread": np.linalg.norm(truth.recesses[:, 0] - truth.recesses[:, 1], axis=1),
        "cobb": np.array(np.ptp(sideways)),
    }


def _from_anatomy(anatomy: Anatomy) -> dict[str, NDArray[np.float64]]:
    found = {}
    for field, name in BUILT.items():
        values = np.asarray(getattr(anatomy, field), dtype=float)
        found[name] = values[LUMBAR] if len(values) > len(LEVEL_NAMES) else values
    patient: dict[str, float] = {
        "age": anatomy.patient.age,
        "female": anatomy.patient.female,
        "bmi": anatomy.patient.body_mass_index,
        "transitional": bool(anatomy.transitional),
        "postoperative": bool(anatomy.laminectomy.any() or anatomy.screws.any()),
        "conus": anatomy.conus - CONUS_ZERO,
    }
    found |= {name: np.array(float(value)) for name, value in patient.items()}
    found["herniation"] = anatomy.herniation[:, 0]
    found["pfirrmann"] = 1.0 + (anatomy.nucleus[LUMBAR, None] <= PFIRRMANN_NUCLEUS).sum(axis=1)
    found["modic"] = anatomy.modic[:, 0]
    return found


def _from_frame(anatomy: Anatomy) -> dict[str, NDArray[np.float64]]:
    """Angles between bodies, and heights away from the posterior wall, where the curve has opened the discs."""
    frame = build_frame(anatomy, np.random.default_rng(0))
    lean, depth = anatomy.tilt, anatomy.body_depth
    found = {
        "lordosis": np.array(lean[8] - lean[3]),
        "segment_angle": np.diff(lean[3:9]),
    }

    def opened(disc: int, share: float, sign: float) -> NDArray[np.float64]:
        """The edge of a disc in patient mm at a fraction of its depth, sign 1 for its upper one."""
        behind = -share * 0.5 * (depth[disc] + depth[disc + 1])
        half = 0.5 * anatomy.disc_height[disc] - 0.5 * np.tan(np.radians(anatomy.disc_wedge[disc])) * behind
        return frame.to_patient(np.array([0.0, behind, frame.disc_s[disc] + sign * half]))

    discs = range(3, 8)
    found["disc_height_anterior"] = np.array([np.linalg.norm(opened(d, 1, 1) - opened(d, 1, -1)) for d in discs])
    arched = 0.5 * sum(SAG) * anatomy.disc_height[LUMBAR]
    found["disc_height_middle"] = arched + [np.linalg.norm(opened(d, 0.5, 1) - opened(d, 0.5, -1)) for d in discs]
    found["body_height_anterior"] = np.array([np.linalg.norm(opened(d - 1, 1, -1) - opened(d, 1, 1)) for d in discs])
    return found


def _from_measures(truth: PhantomTruth) -> dict[str, NDArray[np.float64]]:
    """Measures by name, those of both sides as one array (levels, sides)."""
    measures = dict(truth.measures)
    measures["narrowest_sac_depth"] = measures.pop("sac_depth")  # the literature's is that of a healthy sac
    left, right = (f"_{side}" for side in SIDES)
    paired = [name.removesuffix(left) for name in measures if name.endswith(left)]
    both = {name: np.stack([measures.pop(name + left), measures.pop(name + right)], axis=1) for name in paired}
    return measures | both


def compare(found: Sequence[Quantities]) -> Section:
    """Means, spreads and fractions of many phantoms compared with the literature."""
    pooled = {name: np.array([item[name] for item in found], dtype=float) for name in found[0]}
    findings = [finding for expected in MEANS for finding in _means(expected, pooled.get(expected.name))]
    findings += [_share(expected, pooled.get(expected.name)) for expected in SHARES]
    count = sum(finding.passed is not None for finding in findings)
    return Section("Sizes compared with the literature", (*findings, at_least("measured", count, MIN_MEASURED)))


def _means(expected: Expected, values: NDArray[np.float64] | None) -> list[Finding]:
    """One finding a place for the mean; it fails too when the spread is far from the literature's."""
    title, findings = expected.name.replace("_", " "), []
    if values is None:
        return [unknown(title, ", ".join(f"{mean:.3g}" for mean in expected.mean), "not exposed")]
    for index, place in enumerate(expected.places):
        mean, spread = expected.mean[index], expected.spread[index]
        what, tolerance = f"{title} {place}".rstrip(), MEAN_TOLERANCE * spread
        own = values if expected.places == WHOLE else values[:, index]
        own = own[~np.isnan(own)]
        note = f"SD {own.std():.2g}, literature {spread:.2g}; n {own.size}; {expected.source}"
        finding = near(what, float(own.mean()), mean, tolerance, note)
        low, high = (limit * spread for limit in SPREAD_RANGE)
        passed = bool(finding.passed) and bool(low <= own.std() <= high)
        findings.append(Finding(what, finding.found, finding.expected, passed, note))
    return findings


def _share(expected: ExpectedShare, values: NDArray[np.float64] | None) -> Finding:
    if values is None:
        return unknown(expected.what, f"{expected.share:.3g} ± {expected.tolerance:.2g}", "not exposed")
    if expected.level == -1:
        values = np.nanmax(values, axis=1)
    elif expected.level is not None:
        values = values[:, expected.level]
    own = np.abs(values[~np.isnan(values)])
    share = float(((own >= expected.low) & (own < expected.high)).mean())
    return near(expected.what, share, expected.share, expected.tolerance, f"n {own.size}; {expected.source}")
