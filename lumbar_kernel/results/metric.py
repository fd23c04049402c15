"""The competition's metric: weighted log loss of canal, foraminal, subarticular and any-severe, and their mean."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import SubmissionError, TruthError
from lumbar_kernel.schema import (
    CANAL,
    FORAMINAL,
    GROUPS,
    ROWS,
    SEVERE,
    SEVERITY_NAMES,
    SEVERITY_WEIGHTS,
    SUBARTICULAR,
    group_of,
    split_row_id,
)

STUDY_ID = "study_id"
TERMS = (*GROUPS, "any_severe")
PARTS = (
    *({CANAL: "canal", FORAMINAL: "foraminal", SUBARTICULAR: "subarticular"}[group] for group in GROUPS),
    "any_severe",
    "mean",
)
"""The losses of a `Score`, in the order of `TERMS`, and their mean."""

EPSILON = float(np.finfo(np.float64).eps)
"""Where scikit-learn's log_loss cuts probabilities off: the precision of float64."""

NAMED_ROWS = 3


@dataclass(frozen=True)
class Score:
    """Losses of one submission, lower is better; NaN for a term without scored rows.

    Attributes:
        canal: weighted log loss over the scored canal rows.
        foraminal: over both sides' foraminal rows.
        subarticular: over both sides' subarticular rows.
        any_severe: binary, one value a study: is any level's canal severe.
        mean: the competition's score, NaN unless all four terms exist.
        counts: scored rows of the three groups, then studies of the any-severe term.
    """

    canal: float
    foraminal: float
    subarticular: float
    any_severe: float
    mean: float
    counts: tuple[int, ...]


def score(
    solution: Mapping[str, int], submission: Mapping[str, FloatArray], *, groups: Sequence[str] = GROUPS
) -> Score:
    """Score a submission as the competition does.

    Args:
        solution: row id → index of the true grade; rows left out are not scored.
        submission: row id → (3,) probabilities, any positive sum; more rows than the solution are welcome.
        groups: which of `schema.GROUPS` to score; any-severe comes with the canal.

    Raises:
        SubmissionError: a scored row is missing or is not made of finite numbers from zero with a positive sum.
    """
    terms = study_terms(solution, submission, groups=groups)
    values = _divide(terms.losses.sum(axis=0), terms.weights.sum(axis=0))
    parts = dict(zip(PARTS, (*values.tolist(), float(values.mean())), strict=True))
    return Score(**parts, counts=terms.counts)


def bootstrap_interval(
    solution: Mapping[str, int],
    submission: Mapping[str, FloatArray],
    *,
    seed: int = 0,
    draws: int = 1000,
    groups: Sequence[str] = GROUPS,
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each loss and of their mean when studies are drawn again with replacement.

    Returns:
        Field name of `Score` → lower and upper bound over the draws that hold rows of every term; NaN where the score
        itself is.
    """
    terms = study_terms(solution, submission, groups=groups)
    studies = len(terms.studies)
    times = np.random.default_rng(seed).multinomial(studies, np.full(studies, 1 / studies), size=draws)
    drawn = _divide(times @ terms.losses, times @ terms.weights)
    drawn = np.column_stack([drawn, drawn.mean(axis=1)])
    return {part: central_interval(values) for part, values in zip(PARTS, drawn.T, strict=True)}


def central_interval(values: FloatArray) -> tuple[float, float]:
    """The middle 95 % of values without the NaN among them; NaN where nothing is left."""
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, (0.025, 0.975)).tolist() if len(known) else (np.nan, np.nan)
    return low, high


@dataclass(frozen=True, eq=False)
class Truth:
    """A table of true grades.

    Attributes:
        studies: in its order, those without any grade too: a submission must hold all of them.
        grades: row id → index of the true grade; rows without one are absent.
    """

    studies: tuple[str, ...]
    grades: dict[str, int]


def load_truth(path: Path) -> Truth:
    """The studies and true grades of a table in the layout of `train.csv`.

    Raises:
        TruthError: the layout or a cell is not that of `train.csv`.
    """
    studies: dict[str, None] = {}
    grades = {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        if set(reader.fieldnames or ()) != {STUDY_ID, *ROWS}:
            msg = f"{path} must have the columns study_id and the {len(ROWS)} of train.csv, not {reader.fieldnames}"
            raise TruthError(msg)
        for line in reader:
            studies[line[STUDY_ID]] = None
            for row in ROWS:
                if grade := line[row]:
                    if grade not in SEVERITY_NAMES:
                        msg = f"{path}: {row} of study {line[STUDY_ID]} is {grade!r}, not {', '.join(SEVERITY_NAMES)}"
                        raise TruthError(msg)
                    grades[f"{line[STUDY_ID]}_{row}"] = SEVERITY_NAMES.index(grade)
    return Truth(tuple(studies), grades)


def load_solution(path: Path) -> dict[str, int]:
    """Row id → index of the true grade from such a table; errors as in `load_truth`."""
    return load_truth(path).grades


@dataclass(frozen=True, eq=False)
class StudyTerms:
    """What each study adds to the metric; a term is the sum of its losses over the sum of its weights.

    Attributes:
        studies: (n,) ids, sorted.
        losses: (n, 4) weighted losses in the order of `TERMS`.
        weights: (n, 4).
        counts: scored rows of the three groups, then studies of the any-severe term.
    """

    studies: NDArray[np.str_]
    losses: FloatArray
    weights: FloatArray
    counts: tuple[int, ...]


def study_terms(
    solution: Mapping[str, int], submission: Mapping[str, FloatArray], *, groups: Sequence[str] = GROUPS
) -> StudyTerms:
    """The metric's terms study by study; arguments and errors as in `score`."""
    rows = [row for row in solution if group_of(row) in groups]
    if not rows:
        msg = f"the solution holds no row of {', '.join(groups)}"
        raise ValueError(msg)
    probabilities = _align(rows, submission)
    labels = np.array([solution[row] for row in rows])
    weights = np.array(SEVERITY_WEIGHTS)[labels]
    term = np.array([GROUPS.index(group_of(row)) for row in rows])
    names, study = np.unique([split_row_id(row)[0] for row in rows], return_inverse=True)
    chosen = _cut(probabilities[np.arange(len(rows)), labels])
    loss_sums = np.zeros((len(names), len(TERMS)))
    weight_sums = np.zeros_like(loss_sums)
    np.add.at(loss_sums, (study, term), -weights * np.log(chosen))
    np.add.at(weight_sums, (study, term), weights)

    canal = term == GROUPS.index(CANAL)
    severe, weight, predicted = np.zeros((3, len(names)))
    np.maximum.at(severe, study[canal], labels[canal] == SEVERE)
    np.maximum.at(weight, study[canal], weights[canal])
    np.maximum.at(predicted, study[canal], probabilities[canal, SEVERE])
    predicted = _cut(predicted)
    loss_sums[:, -1] = -weight * np.where(severe > 0, np.log(predicted), np.log1p(-predicted))
    weight_sums[:, -1] = weight
    counts = (*np.bincount(term, minlength=len(GROUPS)).tolist(), int(np.count_nonzero(weight)))
    return StudyTerms(names, loss_sums, weight_sums, counts)


def _align(rows: Sequence[str], submission: Mapping[str, FloatArray]) -> FloatArray:
    """Checked probabilities (rows, 3) in the order of the rows, each divided by its sum; raises SubmissionError."""
    if missing := [row for row in rows if row not in submission]:
        msg = f"the submission lacks {len(missing)} scored rows, first {', '.join(missing[:NAMED_ROWS])}"
        raise SubmissionError(msg)
    values = np.array([submission[row] for row in rows], dtype=np.float64)
    bad = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1) | ~(values.sum(axis=1) > 0)
    if bad.any():
        first = int(np.argmax(bad))
        msg = f"{bad.sum()} rows are not probabilities, first {rows[first]} {values[first].tolist()}"
        raise SubmissionError(msg)
    return _shares(values)


def _shares(values: FloatArray) -> FloatArray:
    """Probabilities (n, 3), each row divided by its sum."""
    shares: FloatArray = values / values.sum(axis=1, keepdims=True)
    return shares


def _cut(probabilities: FloatArray) -> FloatArray:
    """Probabilities where the metric cuts them off, so that their logarithm is finite."""
    return np.clip(probabilities, EPSILON, 1 - EPSILON)


def _divide(losses: FloatArray, weights: FloatArray) -> FloatArray:
    """Losses over weights, NaN where nothing was scored."""
    quotients: FloatArray = np.divide(losses, weights, out=np.full(np.shape(losses), np.nan), where=weights > 0)
    return quotients


def weighted_log_loss(labels: NDArray[np.integer[Any]], probabilities: FloatArray) -> float:
    """The metric's loss of the rows of one condition: labels (n,) 0..2, probabilities (n, 3) of any positive sum."""
    weight = np.array(SEVERITY_WEIGHTS)[labels]
    picked = _cut(_shares(probabilities)[np.arange(len(labels)), labels])
    return float(-(weight * np.log(picked)).sum() / weight.sum())
