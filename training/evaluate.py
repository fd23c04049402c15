"""How good the shipped weights are: `python -m training.evaluate DATA_DIR [--oof] [--json FILE]`.

DATA_DIR has the layout of `shared/data`; the packs that exist are measured with the kernel's own localisation, cropping
and grading. Without `--oof` every checkpoint predicts every row, which is right for data that no training used; with it
a row is predicted only by the checkpoints trained without its fold.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.array_rows import select
from evaluation.constant_grades import constant_submission
from evaluation.phantom_score import phantom_score
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import Manifest, read_manifest
from lumbar_kernel.results.metric import bootstrap_interval, score
from lumbar_kernel.results.reliability import reliability
from lumbar_kernel.schema import CANAL, FORAMINAL, ROWS, SUBARTICULAR, SUBMISSION_COLUMNS
from training.evaluation_metrics import GradedRows, location_metric, loss_metric, other_model_loss, ranking_metric
from training.fold_checkpoints import FoldCheckpoints, exported
from training.localised_foramina import LocalisedForamina, localised_foramina
from training.localised_margins import localised_margins
from training.marked_pictures import READERS
from training.member_predictions import (
    CropSet,
    EvaluationSettings,
    axial_set,
    foraminal_sets,
    grade_sets,
    localised_set,
    member_rows,
    predict_sets,
    ranked_canals,
)
from training.soft_targets import read_predictions

logger = logging.getLogger(__name__)

OTHER_MODELS = {
    FORAMINAL: ("yu4u_sagittal1_baseline", "yu4u_sagittal1_s1_swint"),
    CANAL: ("yu4u_sagittal2_baseline", "yu4u_sagittal2_swint", "yu4u_sagittal2_axial"),
    SUBARTICULAR: ("yu4u_axial_baseline", "yu4u_axial_swint"),
}
"""Single models of a 4th-place team member whose out-of-fold predictions are in `oof/`.

They localise by themselves, where most of the crop metrics give the kernel the labelled slice and point."""

ASSEMBLED = ("foraminal_stack", "canal_axial", "subarticular_axial")
"""The metrics whose rows are nearest to those of whole studies: with the kernel's own places and foraminal slice."""

MARKED = ("foraminal_marked", "canal_axial", "subarticular_axial")
"""The metrics on the slices that readers marked."""


def assembled_sets(settings: EvaluationSettings, localised: Sequence[LocalisedForamina]) -> Iterator[CropSet]:
    """The crops behind `ASSEMBLED`, of the packs that exist; `localised` as from `localised_foramina`, or empty."""
    if localised:
        yield localised_set("foraminal_stack", localised[1])
    yield from axial_sets(settings, shifted=False)


def axial_sets(settings: EvaluationSettings, *, shifted: bool) -> Iterator[CropSet]:
    """The axial crops, as in `axial_set`, where their pack exists."""
    if (settings.data / "axial_t2_crops").is_dir():
        recesses = exported(settings.manifest, settings.manifest.axial, out_of_fold=settings.out_of_fold)
        yield axial_set(settings.data, recesses, shifted=shifted)


def crop_sets(settings: EvaluationSettings, localised: Sequence[LocalisedForamina]) -> Iterator[CropSet]:
    """The crops of every pack of graded crops that exists; `localised` as from `localised_foramina`, or empty."""
    if localised:
        yield from foraminal_sets(settings.data)
        yield localised_set("foraminal_localised", localised[0])
    yield from assembled_sets(settings, localised)
    yield from axial_sets(settings, shifted=True)


def locations(
    data: Path, checkpoints: FoldCheckpoints[HeatmapNet]
) -> tuple[dict[str, dict[str, float]], tuple[LocalisedForamina, ...]]:
    """Location metrics by pack, and the localised foramina, none when their pack does not exist."""
    metrics: dict[str, dict[str, float]] = {}
    localised: tuple[LocalisedForamina, ...] = ()
    if (data / "sagittal_t1").is_dir():
        localised = localised_foramina(data, checkpoints)
        metrics["t1_localisation"] = location_metric(localised[0].located)
    for pack in READERS:
        for weighting, name in (("t2", pack), ("t1", f"{pack}_t1")):
            located = localised_margins(data, pack, weighting, checkpoints)
            if located is not None:
                metrics[name] = location_metric(located)
    return metrics, localised


def assembled(graded: Mapping[str, GradedRows]) -> dict[str, float] | None:
    """The official metric on the packs' studies with rows of all three conditions; None without any.

    Each condition is graded with the kernel's own places; any-severe is taken over the levels that the packs hold.
    """
    if not set(ASSEMBLED) <= set(graded):
        return None
    parts = [graded[name] for name in ASSEMBLED]
    studies = set.intersection(*(set(rows.group) for rows in parts))
    held = [select(rows, np.isin(rows.group, sorted(studies))) for rows in parts]
    solution = {str(row): int(label) for rows in held for row, label in zip(rows.row_id, rows.labels, strict=True)}
    pairs = (zip(rows.row_id, rows.probabilities, strict=True) for rows in held)
    submission = {str(row): grades for of_condition in pairs for row, grades in of_condition}
    if not solution:
        return None
    low, high = bootstrap_interval(solution, submission)["mean"]
    loss, prior = (score(solution, grades).mean for grades in (submission, constant_submission(solution)))
    return {"loss": loss, "prior": prior, "low": low, "high": high, "n": len(solution), "studies": len(studies)}


def phantoms(manifest: Manifest, studies: int) -> dict[str, float]:
    """The official metric on complete phantom studies, in the form of the other metrics."""
    with tempfile.TemporaryDirectory() as folder:
        result = phantom_score(Path(folder), studies=studies, weights=manifest.folder)
    low, high = result["interval"]["mean"]
    score, prior = result["score"]["mean"], result["prior"]["mean"]
    return {"loss": score, "prior": prior, "low": low, "high": high, "n": len(ROWS) * studies, "studies": studies}


def other_models(data: Path, condition: str) -> dict[str, Mapping[str, NDArray[np.float64]]]:
    """Predictions of other models for one condition, by model and row id."""
    found: dict[str, Mapping[str, NDArray[np.float64]]] = {}
    for name in OTHER_MODELS[condition]:
        path = data / "oof" / f"{name}_submission.csv"
        if path.is_file():
            found[name] = read_predictions([path])
    return found


def _with_interval(metric: Mapping[str, float], name: str) -> str:
    return f"{metric[name]:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"


def print_losses(data: Path, graded: Mapping[str, GradedRows], metrics: Mapping[str, Mapping[str, float]]) -> None:
    """One line per metric, with the other models on the same rows."""
    print(
        "\nThe other models find slice and point by themselves, as the kernel does in foraminal_stack; elsewhere it has"
    )
    print("the reader's slice, and in foraminal_marked and foraminal_neighbour the reader's point as well.")
    print(
        "\n| weighted log loss | kernel (95 % interval) | prior | right | n | studies | other models on the same rows |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, metric in metrics.items():
        others = []
        if (rows := graded.get(name)) is not None:
            for model, predicted in other_models(data, rows.condition).items():
                if (held := other_model_loss(rows, predicted)) is not None:
                    others.append(f"{model} {held[0]:.3f}" + ("" if held[1] == metric["n"] else f" ({held[1]} rows)"))
        cells = (
            name,
            _with_interval(metric, "loss"),
            f"{metric['prior']:.3f}",
            f"{100 * metric['accuracy']:.1f} %" if "accuracy" in metric else "–",
            metric["n"],
            metric["studies"],
            "; ".join(others) or "–",
        )
        print(f"| {' | '.join(map(str, cells))} |")


def print_members(each: Iterable[tuple[str, str, GradedRows]]) -> dict[str, dict[str, dict[str, float]]]:
    """One line per member and metric; returns member → metric name → loss metric."""
    print("\n| member | metric | loss alone, uncalibrated (95 % interval) | n | studies |")
    print("|---|---|---|---|---|")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, member, rows in each:
        metric = found.setdefault(member, {})[name] = loss_metric(rows)
        cells = (member, name, _with_interval(metric, "loss"), metric["n"], metric["studies"])
        print(f"| {' | '.join(map(str, cells))} |")
    return found


def print_locations(metrics: Mapping[str, dict[str, float]]) -> None:
    """One line per pack."""
    print("\n| found at the right level within | 2 % | 3 % | 6 % of the frame | right level | points | studies |")
    print("|---|---|---|---|---|---|---|")
    for name, metric in metrics.items():
        fractions = [f"{100 * metric[key]:.1f} %" for key in list(metric)[:4]]
        print(f"| {' | '.join([name, *fractions, str(metric['n']), str(metric['studies'])])} |")


def print_reliability(graded: Mapping[str, GradedRows]) -> None:
    """Predicted beside observed frequencies, per grade and bin."""
    print("\n| metric | grade | probability | n | predicted | observed |")
    print("|---|---|---|---|---|---|")
    for name, rows in graded.items():
        for item in reliability(rows.labels, rows.probabilities):
            cells = (name, item.severity, f"{item.low:.2f} to {item.high:.2f}", item.n)
            print(f"| {' | '.join(map(str, cells))} | {item.predicted:.3f} | {item.observed:.3f} |")


def print_ranking(metric: Mapping[str, float]) -> None:
    """One sentence."""
    area = _with_interval(metric, "area")
    print(f"\nStenosis boxes against none on sagittal T2, area under the curve within levels: {area}", end="")
    print(f", {metric['n']} levels of {metric['studies']} patients")


def write_predictions(graded: Mapping[str, GradedRows], path: Path) -> None:
    """Write the grades of the rows on their marked slices in the columns of a submission."""
    marked = [graded[name] for name in MARKED if name in graded]
    rows = [[row, *grades] for item in marked for row, grades in zip(item.row_id, item.probabilities, strict=True)]
    pd.DataFrame(rows, columns=SUBMISSION_COLUMNS).to_csv(path, index=False, float_format="%.6f")


def main() -> None:
    """Measure, print the tables, and write the metrics as JSON where requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument(
        "--oof", action="store_true", help="predict each row by the checkpoints trained without its fold"
    )
    parser.add_argument("--folds", type=int, nargs="+", metavar="N", help="grade crops of these folds (default: all)")
    parser.add_argument("--weights", type=Path, help="folder with manifest.json (default: the package's own)")
    parser.add_argument("--phantoms", type=int, default=40, metavar="N", help="phantom studies to grade, 0 for none")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--predictions", type=Path, metavar="CSV", help="write the grades of marked rows, for graders to learn from"
    )
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        parser.error(f"DATA_DIR is not an existing folder: {arguments.data}")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = EvaluationSettings(arguments.data, read_manifest(arguments.weights), arguments.oof)
    sagittal = exported(settings.manifest, settings.manifest.sagittal, out_of_fold=settings.out_of_fold)
    places, localised = locations(settings.data, sagittal)
    sets = crop_sets(settings, localised)
    if arguments.folds:
        sets = (item.of_folds(arguments.folds) for item in sets)
    predicted = predict_sets(settings, sets)
    graded = grade_sets(settings.manifest, predicted)
    losses = {name: loss_metric(rows) for name, rows in graded.items()}
    if (whole := assembled(graded)) is not None:
        losses["assembled"] = whole
    if arguments.phantoms:
        losses["phantom"] = phantoms(settings.manifest, arguments.phantoms)
    print_losses(arguments.data, graded, losses)
    metrics: dict[str, object] = {**losses, **places, "members": print_members(member_rows(predicted))}
    print_locations(places)
    if (settings.data / "sudirman_sagittal" / "boxes.csv").is_file():
        ranked = ranking_metric(ranked_canals(settings))
        if not np.isnan(ranked["area"]):  # there are levels with and without boxes to compare
            metrics["canal_boxes"] = ranked
            print_ranking(ranked)
    print_reliability(graded)
    if arguments.predictions:
        write_predictions(graded, arguments.predictions)
    if arguments.json:
        arguments.json.write_text(json.dumps(metrics, indent=1) + "\n")


if __name__ == "__main__":
    main()
