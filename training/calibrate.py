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
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.array_rows import select
from lumbar_kernel.grading.ensemble import scale_max_severe
from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.models.manifest import Manifest, read_manifest
from lumbar_kernel.results.metric import load_solution, study_terms, weighted_log_loss
from lumbar_kernel.schema import CANAL, GROUPS, group_of, prior, row_ids
from training import manifest_entries
from training.evaluate import assembled_sets, other_models
from training.evaluation_metrics import GradedRows
from training.fitting import (
    FACTORS,
    MIN_GAIN,
    UNCHANGED,
    TemperatureBias,
    across_folds,
    factor_gain,
    fit,
    shifted,
    with_temperature_bias,
)
from training.fold_checkpoints import sagittal_checkpoints
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
        before = ensemble_weights(manifest, members.view, members.group)
        if len(before) < 2:
            continue
        options = [dict(zip(before, split, strict=True)) for split in _splits(len(before))]
        rows = [members.combined(option) for option in options]
        alone = [weighted_log_loss(rows[k].labels, rows[k].probabilities) for k in _corners(options)]
        equal, after, best = _weight_gain(rows)
        kept = equal - after > MIN_GAIN
        chosen = options[best] if kept else dict.fromkeys(before, 1 / len(before))
        for member, weight in chosen.items():
            found.setdefault(member, {})[members.group] = round(weight * sum(before.values()), 4)
        for member, rise in losses_without(members).items():
            gains[member] = round(gains.get(member, 0.0) + rise / len(GROUPS), 4)
        each = ", ".join(f"{loss:.4f}" for loss in alone)
        weights = ", ".join(f"{weight:.2f}" for weight in chosen.values())
        cells = (name, ", ".join(before), each, f"{equal:.4f}", f"{after:.4f}", weights, "yes" if kept else "no")
        print(f"| {' | '.join(cells)} |")
    return found, gains


def losses_without(members: MemberPredictions) -> dict[str, float]:
    """How much the loss of equally weighted members rises when each of them is left out."""

    def loss(names: Iterable[str]) -> float:
        rows = members.combined(dict.fromkeys(names, 1.0))
        return weighted_log_loss(rows.labels, rows.probabilities)

    everyone = list(members.predictions)
    combined = loss(everyone)
    return {member: loss([name for name in everyone if name != member]) - combined for member in everyone}


def _splits(members: int, *, parts: int = 10) -> list[tuple[float, ...]]:
    """Every set of member weights in tenths that sums to one, the most equal first."""
    whole = [s for s in itertools.product(range(parts + 1), repeat=members) if sum(s) == parts]
    return [tuple(k / parts for k in split) for split in sorted(whole, key=lambda s: (max(s) - min(s), s))]


def _corners(options: Sequence[Mapping[str, float]]) -> list[int]:
    """Indices of the options in which one member has all the weight."""
    return [k for name in options[0] for k, option in enumerate(options) if option[name] == 1.0]


def _weight_gain(rows: Sequence[GradedRows]) -> tuple[float, float, int]:
    """Loss with the most equal weights and with those of the other folds, and the best of all."""

    def loss(chosen: NDArray[np.bool_], index: int) -> float:
        return weighted_log_loss(rows[index].labels[chosen], rows[index].probabilities[chosen])

    def best(chosen: NDArray[np.bool_]) -> int:
        return min(range(len(rows)), key=lambda index: loss(chosen, index))

    fold = rows[0].fold
    return across_folds(fold, lambda _: 0, loss), across_folds(fold, best, loss), best(np.ones(len(fold), bool))


def calibrated(graded: dict[str, tuple[str, GradedRows]]) -> Calibration:
    """Temperature and bias of each condition where they help out of fold; prints all that was tried."""
    chosen = Calibration()
    print("\n| rows | as they are | calibrated, fitted on the other folds | kept |")
    print("|---|---|---|---|")
    for name, (group, rows) in graded.items():
        before, after = _gain(group, rows)
        kept = before - after > MIN_GAIN
        if kept:
            chosen = with_temperature_bias(group, fit(rows.labels, rows.probabilities), chosen)
        print(f"| {name} | {before:.4f} | {after:.4f} | {'yes' if kept else 'no'} |")
    return chosen


def _gain(group: str, rows: GradedRows) -> tuple[float, float]:
    """Loss without and with the calibration fitted on the other folds; both weight the folds alike."""

    def loss(chosen: NDArray[np.bool_], shift: TemperatureBias) -> float:
        held = select(rows, chosen)
        return weighted_log_loss(held.labels, shifted(group, held.probabilities, shift))

    before = across_folds(rows.fold, lambda _: UNCHANGED, loss)
    return before, across_folds(rows.fold, lambda others: fit(rows.labels[others], rows.probabilities[others]), loss)


def max_severe_factor(data: Path) -> float:
    """The smallest factor that helps out of fold on every canal model of `oof/`; 1 without such models."""
    models = other_models(data, CANAL)
    if not models:
        return 1.0
    folds = pd.read_csv(data / "rsna_tables" / "folds.csv", dtype={"study_id": str}).set_index("study_id")["fold"]
    solution = load_solution(data / "rsna_tables" / "train.csv")
    chosen: list[float] = []
    print("\n| canal model | canal + any severe, factor 1 | factor of the other folds | factor of all | kept |")
    print("|---|---|---|---|---|")
    for name, predicted in models.items():
        labels = {row: grade for row, grade in solution.items() if row in predicted and group_of(row) == CANAL}
        terms = [study_terms(labels, scaled(predicted, factor), groups=(CANAL,)) for factor in FACTORS]
        before, after, overall = factor_gain(terms, folds.loc[terms[0].studies.tolist()].to_numpy(np.int8))
        kept = before - after > MIN_GAIN
        chosen.append(overall if kept else 1.0)
        print(f"| {name} | {before:.4f} | {after:.4f} | {overall} | {'yes' if kept else 'no'} |")
    return min(chosen)


def scaled(predicted: Mapping[str, NDArray[np.float64]], factor: float) -> dict[str, NDArray[np.float64]]:
    """The canal rows of a submission after the study-maximum rule."""
    studies = sorted({row.partition("_")[0] for row in predicted})
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
    checkpoints = sagittal_checkpoints(manifest, out_of_fold=True)
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
