"""Ensemble weights and calibration from whole studies: `python -m training.calibrate_studies COMPETITION WEIGHTS OUT`.

OUT is that of `training.whole_studies`. The members of all views that grade a condition, for the canal on sagittal and
axial slices, share its weight as fits out of fold. Each step is kept only if it helps when it is fitted on the other
folds. The scores are cross-fitted too: what is fitted for a study, the study-maximum factor included, has not seen its
fold. Only which steps are kept is decided on all folds. The command starts from the weights that were exported, however
often it is run.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.array_rows import select
from evaluation.constant_grades import constant_submission
from evaluation.study_truth import GRADES_TABLE
from lumbar_kernel.grading.ensemble import blend_with_prior, scale_max_severe
from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.models.manifest import Manifest, MemberSpec, read_manifest
from lumbar_kernel.results.metric import (
    PARTS,
    bootstrap_interval,
    load_solution,
    score,
    study_terms,
    weighted_log_loss,
)
from lumbar_kernel.schema import (
    CANAL,
    GROUPS,
    ROW_GROUPS,
    ROWS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
    group_of,
    prior,
    split_row_id,
)
from lumbar_kernel.views import VIEWS
from training import manifest_entries
from training.fitting import (
    FACTORS,
    UNCHANGED,
    TemperatureBias,
    Trial,
    across_folds,
    best_factor,
    factor_of_others,
    fit,
    shifted,
    with_temperature_bias,
)
from training.manifest_entries import ManifestEntries
from training.model_card import SCORES
from training.whole_studies import StudyPredictions, weights_key

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ConditionRows:
    """The rows of one condition that have a label and at least one prediction.

    Attributes:
        study: (n,) index of the study.
        row: (n,) index into `schema.ROWS`.
        fold: (n,).
        labels: (n,) grade 0..2.
        predictions: (n, members, 3), NaN where a member does not grade the row.
    """

    study: NDArray[np.intp]
    row: NDArray[np.intp]
    fold: NDArray[np.int8]
    labels: NDArray[np.int8]
    predictions: NDArray[np.float64]

    def combined(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of the members that grade each row by weight, (n, 3)."""
        there = ~np.isnan(self.predictions[:, :, :1])
        share = np.where(there, weights[None, :, None], 0.0)
        total: NDArray[np.float64] = (share * np.nan_to_num(self.predictions)).sum(axis=1)
        mean: NDArray[np.float64] = total / np.maximum(share.sum(axis=1), 1e-12)
        return mean


@dataclass(frozen=True, eq=False)
class Fitted:
    """What is fitted for one condition.

    Attributes:
        weights: (members,) share of each member.
        shift: temperature and bias.
    """

    weights: NDArray[np.float64]
    shift: TemperatureBias


def rows_of(
    found: Sequence[StudyPredictions], solution: Mapping[str, int], members: Sequence[str], condition: str
) -> ConditionRows:
    """The labelled rows of a condition that some member graded."""
    wanted = np.flatnonzero(GROUPS.index(condition) == ROW_GROUPS)
    study, row, fold, labels, predictions = [], [], [], [], []
    nothing = np.full((len(ROWS), len(SEVERITIES)), np.nan)
    for index, item in enumerate(found):
        each = np.stack([item.predictions.get(name, nothing) for name in members], axis=1)
        for place in wanted:
            label = solution.get(f"{item.study_id}_{ROWS[place]}")
            if label is not None and not np.isnan(each[place]).all():
                study.append(index)
                row.append(place)
                fold.append(item.fold)
                labels.append(label)
                predictions.append(each[place])
    return ConditionRows(
        np.array(study, np.intp),
        np.array(row, np.intp),
        np.array(fold, np.int8),
        np.array(labels, np.int8),
        np.array(predictions).reshape(-1, len(members), len(SEVERITIES)),
    )


def fit_weights(rows: ConditionRows) -> NDArray[np.float64]:
    """The shares of the members, from zero and summing to one, with the least weighted log loss."""
    there = torch.from_numpy(~np.isnan(rows.predictions[:, :, :1]))
    given = torch.from_numpy(np.nan_to_num(rows.predictions))
    labels = torch.from_numpy(rows.labels.astype(np.int64))
    importance = torch.tensor(SEVERITY_WEIGHTS, dtype=given.dtype)[labels]
    logits = torch.zeros(rows.predictions.shape[1], dtype=given.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        share = logits.softmax(0)[None, :, None] * there
        mean = (share * given).sum(1) / share.sum(1).clamp(min=1e-12)
        picked = mean[torch.arange(len(labels)), labels].clamp(min=1e-9)
        # A weak pull towards equal shares keeps a member that is never needed from running off to zero.
        loss = -(importance * picked.log()).sum() / importance.sum() + 1e-4 * logits.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return np.asarray(logits.detach().softmax(0).numpy())


def _loss(rows: ConditionRows, probabilities: NDArray[np.float64]) -> float:
    return weighted_log_loss(rows.labels, probabilities)


def losses_without(rows: ConditionRows, weights: NDArray[np.float64]) -> list[float]:
    """How much the loss rises when each member is left out; rows that it alone grades then hold the prior."""
    everyone, rises = _loss(rows, rows.combined(weights)), []
    for index in range(len(weights)):
        others = rows.combined(np.where(np.arange(len(weights)) == index, 0.0, weights))
        ungraded = others.sum(axis=1) == 0
        others[ungraded] = prior()[rows.row[ungraded]]
        rises.append(_loss(rows, others) - everyone)
    return rises


def fit_condition(
    rows: ConditionRows, condition: str, given: NDArray[np.float64]
) -> tuple[Callable[[ConditionRows], Fitted], str]:
    """How a condition is fitted: weights and calibration, each only if it helps on folds that it was not fitted on.

    Args:
        rows: of the condition, of all folds.
        condition: of the rows.
        given: (members,) weights to start from.

    Returns:
        A function from rows to what is fitted on them, and a line of a table on what was tried.
    """

    def held_out(fit_on: Callable[[ConditionRows], Fitted]) -> float:
        def loss(chosen: NDArray[np.bool_], fitted: Fitted) -> float:
            held = select(rows, chosen)
            return _loss(held, shifted(condition, held.combined(fitted.weights), fitted.shift))

        return across_folds(rows.fold, lambda others: fit_on(select(rows, others)), loss)

    def as_given(_: ConditionRows) -> Fitted:
        return Fitted(given, UNCHANGED)

    def weighted(part: ConditionRows) -> Fitted:
        return Fitted(fit_weights(part), UNCHANGED)

    if len(np.unique(rows.fold)) < 2 or min(np.bincount(rows.labels, minlength=len(SEVERITIES))) == 0:
        nothing = "one fold or no row of some grade: nothing is fitted"
        return as_given, f"| {condition} | {len(rows.labels)} | {nothing} | | |"
    before, with_weights = held_out(as_given), held_out(weighted)
    start, started = (weighted, with_weights) if Trial(before, with_weights).helps else (as_given, before)

    def calibrated(part: ConditionRows) -> Fitted:
        weights = start(part).weights
        return Fitted(weights, fit(part.labels, part.combined(weights)))

    after = held_out(calibrated)
    best = calibrated if Trial(started, after).helps else start
    return best, f"| {condition} | {len(rows.labels)} | {before:.4f} | {with_weights:.4f} | {after:.4f} |"


def graded(
    found: Sequence[StudyPredictions], rows: Mapping[str, ConditionRows], fitted: Mapping[str, Mapping[int, Fitted]]
) -> NDArray[np.float64]:
    """Grades of all studies, (studies, 25, 3), before the study-maximum rule; `fitted` is by condition and fold."""
    grades = np.tile(prior(), (len(found), 1, 1))
    for condition, own in rows.items():
        for fold in np.unique(own.fold):
            part, fit_of_fold = select(own, own.fold == fold), fitted[condition][int(fold)]
            grades[part.study, part.row] = shifted(condition, part.combined(fit_of_fold.weights), fit_of_fold.shift)
    return grades


def submission_of(
    found: Sequence[StudyPredictions], grades: NDArray[np.float64], factors: Mapping[int, float]
) -> dict[str, NDArray[np.float64]]:
    """Row id → grades, with the study-maximum rule, blended with the prior where the place is unsure.

    Args:
        found: studies.
        grades: (studies, 25, 3) before the rule.
        factors: fold → study-maximum factor of its studies.
    """
    rows: dict[str, NDArray[np.float64]] = {}
    for item, own in zip(found, grades, strict=True):
        final = blend_with_prior(scale_max_severe(own, factors[item.fold]), item.weight)
        rows |= {f"{item.study_id}_{name}": final[index] for index, name in enumerate(ROWS)}
    return rows


def main() -> None:
    """Fit, print what was tried and the cross-fitted score, and write both into WEIGHTS."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="COMPETITION")
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="folder with manifest.json, changed in place")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the predictions")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    manifest = read_manifest(arguments.weights)
    found = [StudyPredictions.load(path) for path in sorted((arguments.out / weights_key(manifest)).glob("*.npz"))]
    if not found:
        raise SystemExit(f"{arguments.out} holds no predictions of {arguments.weights}; run training.whole_studies")
    solution = load_solution(arguments.data / GRADES_TABLE)
    entry, metrics = fitted_entry(manifest, found, solution)
    manifest_entries.write(arguments.weights, entry)
    (arguments.weights / SCORES).write_text(json.dumps(metrics, indent=1) + "\n")


def fitted_entry(
    manifest: Manifest, found: Sequence[StudyPredictions], solution: Mapping[str, int]
) -> tuple[ManifestEntries, dict[str, object]]:
    """The manifest's entries with fitted weights and calibration, and the cross-fitted scores, both also printed."""
    entry, calibration = manifest_entries.read(manifest.folder), Calibration()
    rows: dict[str, ConditionRows] = {}
    by_fold: dict[str, dict[int, Fitted]] = {}
    gains: defaultdict[str, float] = defaultdict(float)
    print("| condition | rows | weights as given | fitted on the other folds | and calibrated |")
    print("|---|---|---|---|---|")
    for item in entry["members"].values():
        item["ensemble_weight"] = dict(item.setdefault("initial_weight", item["ensemble_weight"]))
    for condition in GROUPS:
        able = [spec for spec in manifest.members if condition in VIEWS[spec.view].groups]
        own = rows_of(found, solution, [spec.name for spec in able], condition)
        if not len(own.labels):
            continue
        fit_on, line = fit_condition(own, condition, _initial_shares(entry, able, condition))
        print(line)
        whole = fit_on(own)
        for spec, weight in zip(able, whole.weights, strict=True):
            entry["members"][spec.name]["ensemble_weight"][condition] = round(float(weight), 4)
        for spec, rise in zip(able, losses_without(own, whole.weights), strict=True):
            gains[spec.name] += rise / len(GROUPS)
        calibration = with_temperature_bias(condition, whole.shift, calibration)
        rows[condition] = own
        by_fold[condition] = {int(fold): fit_on(select(own, own.fold != fold)) for fold in np.unique(own.fold)}
    grades = graded(found, rows, by_fold)
    studies = {item.study_id for item in found}
    labels = {row: label for row, label in solution.items() if split_row_id(row)[0] in studies}
    factor, factors = _factors(found, grades, labels)
    for name, gain in gains.items():
        entry["members"][name]["gain"] = round(gain, 4)
    entry["calibration"] = replace(calibration, max_severe_factor=factor).to_dict()
    return entry, _scores(labels, submission_of(found, grades, factors), studies=len(found))


def _initial_shares(entry: ManifestEntries, able: Sequence[MemberSpec], condition: str) -> NDArray[np.float64]:
    """The shares of some members in a condition as they were exported, equal where none was given any, (members,)."""
    given = np.array([entry["members"][spec.name]["initial_weight"].get(condition, 0.0) for spec in able])
    return given / given.sum() if given.any() else np.full(len(able), 1 / len(able))


def _factors(
    found: Sequence[StudyPredictions], grades: NDArray[np.float64], labels: Mapping[str, int]
) -> tuple[float, dict[int, float]]:
    """The study-maximum factor, and fold → that of the other folds for the scores; 1 everywhere unless these help."""
    canal = {row: label for row, label in labels.items() if group_of(row) == CANAL}
    fold_of = {item.study_id: item.fold for item in found}
    without = dict.fromkeys(fold_of.values(), 1.0)
    if not canal or len(without) < 2:
        return 1.0, without
    tried = (submission_of(found, grades, dict.fromkeys(without, factor)) for factor in FACTORS)
    terms = [study_terms(canal, submission, groups=(CANAL,)) for submission in tried]
    folds = np.array([fold_of[study] for study in terms[0].studies], np.int8)
    trial, factor = best_factor(terms, folds)
    return (factor, {fold: factor_of_others(terms, folds, fold) for fold in without}) if trial.helps else (1.0, without)


def _scores(
    labels: Mapping[str, int], submission: Mapping[str, NDArray[np.float64]], *, studies: int
) -> dict[str, object]:
    """The official metric with intervals beside the prior's, printed as a table."""
    own, constant = score(labels, submission), score(labels, constant_submission(labels))
    intervals = bootstrap_interval(labels, submission)
    print(f"\n| out of fold, {studies} studies | loss (95 % interval) | prior |")
    print("|---|---|---|")
    for part in PARTS:
        low, high = intervals[part]
        print(f"| {part} | {getattr(own, part):.3f} ({low:.3f} to {high:.3f}) | {getattr(constant, part):.3f} |")
    return {
        part: {"loss": getattr(own, part), "prior": getattr(constant, part), "interval": intervals[part]}
        for part in PARTS
    } | {"studies": studies, "rows": len(labels)}


if __name__ == "__main__":
    main()
