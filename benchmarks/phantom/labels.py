"""Labels of phantoms compared with the challenge's: label shares, and correlations of grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.phantom.findings import Finding, Section, at_most, near
from lumbar_kernel.schema import (
    CANAL,
    FORAMINAL,
    GROUPS,
    LEVEL_NAMES,
    LEVELS,
    SEVERE,
    SEVERITY_NAMES,
    SIDED,
    SIDES,
    SUBARTICULAR,
    per_level,
    row_index,
)

Grades = NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)

SHARES = {
    CANAL: per_level((95.5, 3.4, 1.1), (89.7, 7.6, 2.7), (82.2, 11.7, 6.2), (75.1, 12.0, 12.9), (96.5, 2.6, 1.0)),
    FORAMINAL: per_level((96.4, 3.2, 0.4), (91.0, 8.6, 0.4), (77.0, 20.9, 2.1), (61.2, 31.9, 6.9), (64.2, 25.8, 10.1)),
    SUBARTICULAR: per_level(
        (93.0, 5.6, 1.4), (82.7, 13.2, 4.1), (67.1, 23.0, 9.9), (45.1, 31.6, 23.3), (71.4, 20.5, 8.1)
    ),
}
"""Percent of each grade by condition and level over all 1,974 labelled studies of the challenge, where
`schema.LABEL_COUNTS` has the folds that may be trained on."""

POINTS = 2.0
FULL = 5000
"""Studies for which the tolerance of two points is intended; fewer get their sampling error on top."""

ADJACENT = {
    CANAL: (0.32, 0.45, 0.40, 0.18),
    FORAMINAL: (0.33, 0.39, 0.46, 0.37),
    SUBARTICULAR: (0.38, 0.49, 0.48, 0.35),
}
"""Rank correlation of the grades of neighbouring levels on one side, L1/L2 with L2/L3 first, in the challenge."""

BETWEEN_SIDES = {FORAMINAL: 0.42, SUBARTICULAR: 0.56}
WITH_CANAL = {FORAMINAL: 0.28, SUBARTICULAR: 0.51}
"""Over all levels pooled."""

CORRELATION_TOLERANCE = 0.10
MAX_EXPLAINED = 0.7
"""Fraction of the variance of a score's ranks that one size may explain; with more, the size alone gives the grade."""

ANY_SEVERE = (0.18, 0.03)
"""Fraction of studies with severe canal stenosis at any level."""


def columns(group: str, level: int) -> list[int]:
    """Indices of a condition's grades at a level in (25,) grades, left then right."""
    return [row_index(group, level, side) for side in range(len(SIDES) if group in SIDED else 1)]


def marginals(grades: Grades) -> Section:
    """Label shares of (n, 25) labels, -1 where there is none, compared with the challenge's."""
    findings = []
    for group in GROUPS:
        for level, name in enumerate(LEVEL_NAMES):
            own = grades[:, columns(group, level)]
            own = own[own >= 0]
            for grade, severity in enumerate(SEVERITY_NAMES):
                expected = SHARES[group][level][grade]
                note = f"n {own.size}"
                what = f"{group.replace('_', ' ')} {name}, {severity}, %"
                found = float(100 * (own == grade).mean())
                findings.append(near(what, found, expected, _tolerance(expected, len(grades)), note))
    severe = (_by_level(grades, CANAL) == SEVERE).any(axis=(1, 2)).mean()
    expected, tolerance = ANY_SEVERE
    tolerance += float(np.sqrt(expected * (1 - expected))) * _chance(len(grades))
    findings.append(
        near("any severe canal, fraction of studies", float(severe), expected, tolerance, f"n {len(grades)}")
    )
    return Section("Label shares compared with the challenge", tuple(findings))


def _tolerance(percent: float, studies: int) -> float:
    return POINTS + 100 * float(np.sqrt(percent / 100 * (1 - percent / 100))) * _chance(studies)


def _chance(studies: int) -> float:
    """What two standard errors of fewer than `FULL` studies are more than those of `FULL`, for a unit spread."""
    return max(0.0, 2 / float(np.sqrt(studies)) - 2 / float(np.sqrt(FULL)))


def _by_level(values: NDArray[Number], group: str) -> NDArray[Number]:
    """Those of a condition of (n, 25) values, (n, levels, sides)."""
    return np.stack([values[:, columns(group, level)] for level in range(len(LEVELS))], axis=1)


def correlations(grades: Grades) -> Section:
    """Rank correlations between (n, 25) grades compared with those of the challenge's labels."""
    by_group = {group: _by_level(grades, group) for group in GROUPS}
    findings = []
    for group, expected in ADJACENT.items():
        for level, value in enumerate(expected):
            pair = f"{LEVEL_NAMES[level]} with {LEVEL_NAMES[level + 1]}"
            one, other = by_group[group][:, level], by_group[group][:, level + 1]
            findings.append(_correlation(f"{group.replace('_', ' ')}, {pair}", one, other, value))
    for group, value in BETWEEN_SIDES.items():
        both = by_group[group]
        findings.append(_correlation(f"{group.replace('_', ' ')}, left with right", both[..., 0], both[..., 1], value))
    for group, value in WITH_CANAL.items():
        canal = np.broadcast_to(by_group[CANAL], by_group[group].shape)
        findings.append(_correlation(f"canal with {group.replace('_', ' ')}", canal, by_group[group], value))
    return Section("Rank correlations of grades compared with the challenge", tuple(findings))


def _correlation(what: str, one: Grades, other: Grades, expected: float) -> Finding:
    known = (one >= 0) & (other >= 0)
    if min(np.ptp(one[known]), np.ptp(other[known])) == 0:
        return Finding(what, float("nan"), f"{expected:.2f}", None, "one grade only")
    found = float(spearmanr(one[known], other[known])[0])
    return near(what, found, expected, CORRELATION_TOLERANCE + _chance(len(one)), f"n {known.sum()}")


def single_causes(scores: NDArray[np.float64], sizes: Sequence[Mapping[str, NDArray[np.float64]]]) -> Section:
    """How much of each condition's score the one size explains that explains most of it.

    Args:
        scores: (n, 25) measured narrowing behind the grades.
        sizes: of the same n phantoms; those with a number for each level, or level and side, are looked at.
    """
    pooled = {name: np.array([item[name] for item in sizes], dtype=float) for name in sizes[0]}
    findings = []
    for group in GROUPS:
        own = _by_level(scores, group)
        explained = {}
        for name, values in pooled.items():
            if values.shape[1:2] == (len(LEVELS),) and (values.ndim == 2 or group in SIDED):
                both = np.broadcast_to(values if values.ndim == 3 else values[:, :, None], own.shape)
                known = ~np.isnan(both)
                if np.ptp(both[known]) > 0:
                    explained[name] = float(spearmanr(own[known], both[known])[0] ** 2)
        worst = max(explained, key=lambda name: explained[name])
        note = f"{worst.replace('_', ' ')}, of {len(explained)} sizes"
        findings.append(at_most(f"{group.replace('_', ' ')}, R² of ranks", explained[worst], MAX_EXPLAINED, note))
    return Section("No grade is one size in disguise", tuple(findings))
