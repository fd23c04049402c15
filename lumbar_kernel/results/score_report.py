"""A submission checked as the platform checks it, scored, and explained in tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import SubmissionError, TruthError
from lumbar_kernel.results.metric import PARTS, Truth, bootstrap_interval, score, weighted_log_loss
from lumbar_kernel.results.reliability import ReliabilityBin
from lumbar_kernel.results.submission import check_values
from lumbar_kernel.schema import GROUPS, LEVEL_NAMES, LEVELS, TARGETS, row_ids, split_row_id

READ_TOLERANCE = 2e-3
"""Largest difference of a row's sum from one; three probabilities rounded to three decimals are off by 0.0015."""

NAMED = 3


def scored_rows(submission: Mapping[str, FloatArray], truth: Truth, *, subset: bool = False) -> dict[str, int]:
    """The labelled rows that a submission is scored on, once it holds what the platform asks for.

    Args:
        submission: row id → (3,) probabilities.
        truth: the studies that are asked for, and the grades of the labelled rows.
        subset: score the studies that both hold, instead of asking for the same studies.

    Raises:
        SubmissionError: rows are missing, unknown, negative, not finite or do not sum to one, or no study is shared.
        TruthError: no row of these studies has a label.
    """
    studies = truth.studies
    given = set(_studies(submission))
    if subset:
        studies = tuple(study for study in studies if study in given)
    wanted = {row for study in studies for row in row_ids(study)}
    _refuse("lacks", [row for study in studies for row in row_ids(study) if row not in submission], len(wanted))
    if not subset:
        hint = "; --subset scores the studies that both files hold"
        _refuse("has unexpected", [row for row in submission if row not in wanted], len(wanted), hint)
    if not wanted:
        msg = "Submission Scoring Error: the submission and the truth have no study in common"
        raise SubmissionError(msg)
    rows = [row for row in submission if row in wanted]
    check_values(rows, np.array([submission[row] for row in rows]), tolerance=READ_TOLERANCE)
    scored = {row: grade for row, grade in truth.grades.items() if row in wanted}
    if not scored:
        msg = f"the truth has no grade for any of the studies ({len(studies)}) that are scored"
        raise TruthError(msg)
    return scored


def _studies(rows: Iterable[str]) -> list[str]:
    """The studies that row ids name, in order; raises SubmissionError for an id of another form."""
    try:
        return list(dict.fromkeys(split_row_id(row)[0] for row in rows))
    except ValueError as error:
        msg = f"Submission Scoring Error: {error}"
        raise SubmissionError(msg) from error


def _refuse(fault: str, rows: list[str], of: int, hint: str = "") -> None:
    if rows:
        more = ", …" if len(rows) > NAMED else ""
        msg = f"Submission Scoring Error: the submission {fault} {len(rows)} rows ({of} are asked for): "
        raise SubmissionError(f"{msg}{', '.join(rows[:NAMED])}{more}{hint}")


def labels_and_probabilities(
    scored: Mapping[str, int], submission: Mapping[str, FloatArray]
) -> tuple[NDArray[np.int64], FloatArray]:
    """The true grades (n,) and probabilities (n, 3) of the scored rows, in their order."""
    return np.array([*scored.values()]), np.array([submission[row] for row in scored])


def score_text(
    scored: Mapping[str, int],
    submission: Mapping[str, FloatArray],
    bins: Iterable[ReliabilityBin],
    *,
    draws: int,
) -> str:
    """The score as text: rows and studies, parts with 95 % intervals, losses by condition and level, reliability.

    Args:
        scored: labelled rows, as `scored_rows` returns them.
        submission: row id → (3,) probabilities.
        bins: of `reliability`, to be printed as a table.
        draws: bootstrap draws of the intervals, 0 for none.
    """
    result = score(scored, submission)
    interval = bootstrap_interval(scored, submission, draws=draws) if draws else {}
    lines = [f"scored {len(scored)} labelled rows (studies: {len(_studies(scored))}); lower is better", ""]
    counts = dict(zip(PARTS, (*result.counts, len(scored)), strict=True))
    for name in (PARTS[-1], *PARTS[:-1]):
        range_ = "   95 % interval {:.4f} to {:.4f}".format(*interval[name]) if draws else ""
        what = "studies" if name == "any_severe" else "rows"
        lines.append(f"{name:<13} {getattr(result, name):.4f}{range_}   {counts[name]} {what}")
    lines += ["", *_level_table(scored, submission), "", *_reliability_table(bins)]
    return "\n".join(lines)


def _level_table(scored: Mapping[str, int], submission: Mapping[str, FloatArray]) -> list[str]:
    """Weighted log loss of each condition, both sides together, at each level."""
    lines = [f"{'loss by level':<28}" + "".join(f"{name:>9}" for name in LEVEL_NAMES)]
    for group in GROUPS:
        cells = []
        for level in LEVELS:
            targets = {target.row for target in TARGETS if (target.group, target.level) == (group, level)}
            rows = {row: label for row, label in scored.items() if split_row_id(row)[1] in targets}
            known = labels_and_probabilities(rows, submission) if rows else None
            cells.append(f"{weighted_log_loss(*known):>9.4f}" if known else f"{'–':>9}")
        lines.append(f"{group:<28}" + "".join(cells))
    return lines


def _reliability_table(bins: Iterable[ReliabilityBin]) -> list[str]:
    lines = [f"{'grade':<13}{'probability':<16}{'n':>7}{'predicted':>11}{'observed':>10}"]
    for item in bins:
        span = f"{item.low:.2f} to {item.high:.2f}"
        lines.append(f"{item.severity:<13}{span:<16}{item.n:>7}{item.predicted:>11.3f}{item.observed:>10.3f}")
    return lines
