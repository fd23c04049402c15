"""Fit ensemble weights and calibration: `python -m training.calibrate DATA_DIR WEIGHTS`.

Fits temperature, bias and study-maximum factor, and measures what each member gains, by which a short run chooses.

All are fitted on out-of-fold rows of the shipped ensemble, at places that the kernel found. A step is kept only if it
helps when it is fitted on the other folds. The study-maximum factor needs all five canal levels of many studies, which
no pack gives: it is fitted on the canal predictions of `oof/`, which other models made for the challenge's own labels.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.array_rows import select
from evaluation.study_truth import GRADES_TABLE
from lumbar_kernel.grading.ensemble import scale_max_severe
from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.models.manifest import Manifest, read_manifest
from lumbar_kernel.results.metric import load_solution, study_terms, weighted_log_loss
from lumbar_kernel.schema import CANAL, GROUPS, group_of, prior, row_ids, split_row_id
from training import manifest_entries
from training.competition import read_folds
from training.evaluate import assembled_sets, other_models
from training.evaluation_metrics import GradedRows
from training.fitting import (
    FACTORS,
    UNCHANGED,
    TemperatureBias,
    Trial,
    across_folds,
    best_factor,
    best_option,
    fit,
    shifted,
    with_temperature_bias,
)
from training.fold_checkpoints import exported
from training.localised_foramina import localised_foramina
from training.member_predictions import (
    EvaluationSettings,
    MemberPredictions,
    ensemble_weights,
    grade_sets,
    predict_sets,
)


def fitted_weights(
    manifest: Manifest, packs: Mapping[str, MemberPredictions]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Member → condition → ensemble weight, for views with several members; equal weights where fitting does not help.

    The weights of a view's members keep their sum, so that other views keep their influence. The second result is
    member → gain: how far the mean loss of the conditions falls when the member joins the others of its view.
    """
    found: dict[str, dict[str, float]] = {}
    gains: dict[str, float] = {}
    print("| rows | members | each | equal weights | fitted on the other folds | weights | kept |")
    print("|---|---|---|---|---|---|---|")
    for name, everywhere in packs.items():
        members = everywhere.where_all_predict()
        before = ensemble_weights(manifest, members.view, members.condition)
        if len(before) < 2:
            continue
        options = [dict(zip(before, split, strict=True)) for split in _splits(len(before))]
        rows = [members.combined(option) for option in options]
        alone = [weighted_log_loss(rows[k].labels, rows[k].probabilities) for k in _corners(options)]
        trial, best = best_option(rows[0].fold, partial(_loss_of_option, rows), len(rows))
        chosen = options[best] if trial.helps else dict.fromkeys(before, 1 / len(before))
        for member, weight in chosen.items():
            found.setdefault(member, {})[members.condition] = round(weight * sum(before.values()), 4)
        for member, rise in losses_without(members).items():
            gains[member] = round(gains.get(member, 0.0) + rise / len(GROUPS), 4)
        each = ", ".join(f"{loss:.4f}" for loss in alone)
        weights = ", ".join(f"{weight:.2f}" for weight in chosen.values())
        print(f"| {name} | {', '.join(before)} | {each} | {_figures(trial)} | {weights} | {_kept(trial)} |")
    return found, gains


def losses_without(members: MemberPredictions) -> dict[str, float]:
    """How much the loss of equally weighted members rises when each of them is left out."""

    def loss(names: Iterable[str]) -> float:
        rows = members.combined(dict.fromkeys(names, 1.0))
        return weighted_log_loss(rows.labels, rows.probabilities)

    everyone = list(members.predictions)
    combined = loss(everyone)
    return {member: loss([name for name in everyone if name != member]) - combined for member in everyone}


def _splits(members: int) -> list[tuple[float, ...]]:
    """Equal weights, and every other set of weights in tenths that sums to one, the most equal first."""
    whole = [split for split in itertools.product(range(11), repeat=members) if sum(split) == 10]
    tenths = [tuple(k / 10 for k in split) for split in sorted(whole, key=lambda s: (max(s) - min(s), s))]
    equal = (1 / members,) * members
    return [equal, *(split for split in tenths if split != equal)]


def _corners(options: Sequence[Mapping[str, float]]) -> list[int]:
    """Indices of the options in which one member has all the weight."""
    return [k for name in options[0] for k, option in enumerate(options) if option[name] == 1.0]


def _loss_of_option(options: Sequence[GradedRows], chosen: NDArray[np.bool_], index: int) -> float:
    return weighted_log_loss(options[index].labels[chosen], options[index].probabilities[chosen])


def _figures(trial: Trial) -> str:
    return f"{trial.before:.4f} | {trial.after:.4f}"


def _kept(trial: Trial) -> str:
    return "yes" if trial.helps else "no"


def calibrated(graded: Mapping[str, GradedRows]) -> Calibration:
    """Temperature and bias of each condition where they help out of fold; prints all that was tried."""
    chosen = Calibration()
    print("\n| rows | as they are | calibrated, fitted on the other folds | kept |")
    print("|---|---|---|---|")
    for name, rows in graded.items():
        trial = _trial(rows)
        if trial.helps:
            chosen = with_temperature_bias(rows.condition, fit(rows.labels, rows.probabilities), chosen)
        print(f"| {name} | {_figures(trial)} | {_kept(trial)} |")
    return chosen


def _trial(rows: GradedRows) -> Trial:
    """What calibration does to the loss; with and without it the folds weigh alike."""

    def loss(chosen: NDArray[np.bool_], shift: TemperatureBias) -> float:
        held = select(rows, chosen)
        return weighted_log_loss(held.labels, shifted(rows.condition, held.probabilities, shift))

    return Trial(
        across_folds(rows.fold, lambda _: UNCHANGED, loss),
        across_folds(rows.fold, lambda others: fit(rows.labels[others], rows.probabilities[others]), loss),
    )


def max_severe_factor(data: Path) -> float:
    """The smallest factor that helps out of fold on every canal model of `oof/`; 1 without such models."""
    models = other_models(data, CANAL)
    if not models:
        return 1.0
    folds = read_folds(data / "rsna_tables" / "folds.csv")
    solution = load_solution(data / "rsna_tables" / GRADES_TABLE)
    chosen: list[float] = []
    print("\n| canal model | canal + any severe, factor 1 | factor of the other folds | factor of all | kept |")
    print("|---|---|---|---|---|")
    for name, predicted in models.items():
        labels = {row: grade for row, grade in solution.items() if row in predicted and group_of(row) == CANAL}
        terms = [study_terms(labels, scaled(predicted, factor), groups=(CANAL,)) for factor in FACTORS]
        trial, factor = best_factor(terms, np.array([folds[study] for study in terms[0].studies], np.int8))
        chosen.append(factor if trial.helps else 1.0)
        print(f"| {name} | {_figures(trial)} | {factor} | {_kept(trial)} |")
    return min(chosen)


def scaled(predicted: Mapping[str, NDArray[np.float64]], factor: float) -> dict[str, NDArray[np.float64]]:
    """The canal rows of a submission after the study-maximum rule."""
    studies = sorted({split_row_id(row)[0] for row in predicted})
    found: dict[str, NDArray[np.float64]] = {}
    for study in studies:
        names = list(row_ids(study))
        grades = np.array([predicted.get(name, default) for name, default in zip(names, prior(), strict=True)])
        grades = scale_max_severe(grades / grades.sum(axis=1, keepdims=True), factor)
        found |= {name: row for name, row in zip(names, grades, strict=True) if name in predicted}
    return found


def main() -> None:
    """Fit, print what was tried, and write what helps into the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="folder with manifest.json, changed in place")
    arguments = parser.parse_args()
    manifest = read_manifest(arguments.weights)
    settings = EvaluationSettings(arguments.data, manifest, out_of_fold=True)
    checkpoints = exported(manifest, manifest.sagittal, out_of_fold=True)
    localised = localised_foramina(settings.data, checkpoints) if (settings.data / "sagittal_t1").is_dir() else ()
    sets = assembled_sets(settings, localised)
    # The confidence in a place comes after calibration, so that it must not be part of what calibration sees.
    packs = {name: replace(members, weight={}) for name, members in predict_sets(settings, sets).items()}
    entry = manifest_entries.read(arguments.weights)
    weights, gains = fitted_weights(manifest, packs)
    for member, by_group in weights.items():
        entry["members"][member]["ensemble_weight"] |= by_group
    for member, gain in gains.items():
        entry["members"][member]["gain"] = gain
    manifest_entries.write(arguments.weights, entry)
    weighted = replace(read_manifest(arguments.weights), calibration=Calibration())
    chosen = replace(calibrated(grade_sets(weighted, packs)), max_severe_factor=max_severe_factor(arguments.data))
    entry["calibration"] = chosen.to_dict()
    manifest_entries.write(arguments.weights, entry)


if __name__ == "__main__":
    main()
