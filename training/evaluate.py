"""How good the shipped weights are: `python -m training.evaluate DATA_DIR [--oof] [--json FILE]`.

DATA_DIR is laid out as `shared/data`; whatever parts are there are measured, through the kernel's own localising,
cropping and grading. Without `--oof` every checkpoint judges every row, which is right for data that nobody trained
on; with it a row is judged only by the checkpoints that left its fold out.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.phantom.score import phantom_score
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import Manifest, read_manifest
from lumbar_kernel.schema import CANAL, FORAMINAL, ROW_ID, SEVERITIES, SUBARTICULAR
from training import predictions
from training.evaluation_metrics import (
    Graded,
    location_figure,
    loss_figure,
    prior_of,
    ranking_figure,
    reliability,
    yardstick,
)
from training.member_predictions import Setting, Verdict, ensemble_rows, grading, member_rows, verdicts

logger = logging.getLogger(__name__)

YARDSTICKS = {
    FORAMINAL: ("yu4u_sagittal1_baseline", "yu4u_sagittal1_s1_swint"),
    CANAL: ("yu4u_sagittal2_baseline", "yu4u_sagittal2_swint", "yu4u_sagittal2_axial"),
    SUBARTICULAR: ("yu4u_axial_baseline", "yu4u_axial_swint"),
}
"""Single models of a 4th-place team member whose out-of-fold predictions lie in `oof/`."""

MIDSAGITTAL = ("spider_midsagittal", "sudirman_sagittal", "tianchi_t2", "spider_t2")


def localising(setting: Setting) -> tuple[dict[str, dict[str, float]], dict[str, tuple[str, Graded]]]:
    """Location figures by pack (T1 ones named so), and grades at the foramina that the kernel found."""
    judges = predictions.localiser_judges(setting.manifest, out_of_fold=setting.out_of_fold)
    figures, found = locations(setting.data, judges)
    rows = {}
    if found is not None:
        grades = predictions.member_grades(
            setting.manifest, "sagittal_t1", found.crops, out_of_fold=setting.out_of_fold
        )
        said = ensemble_rows(setting.manifest, Verdict("sagittal_t1", FORAMINAL, found.crops, grades))
        trust = np.array([found.trust[str(row)] for row in said.row_id])[:, None]
        leaning = trust * said.probabilities + (1 - trust) * prior_of(said.row_id)
        rows["foraminal_localised"] = FORAMINAL, said.replace(leaning)
    return figures, rows


def locations(
    data: Path, judges: predictions.Judges[HeatmapNet]
) -> tuple[dict[str, dict[str, float]], predictions.FoundForamina | None]:
    """Location figures by pack, and the foramina that were found; None when there is no pack of them."""
    figures, found = {}, None
    if (data / "sagittal_t1").is_dir():
        found = predictions.foramina_by_kernel(data, judges)
        figures["t1_localisation"] = location_figure(found.located)
    for pack in MIDSAGITTAL:
        for weighting, name in (("t2", pack), ("t1", f"{pack}_t1")):
            located = predictions.midsagittal_by_kernel(data, pack, weighting, judges)
            if located is not None:
                figures[name] = location_figure(located)
    return figures, found


def phantoms(manifest: Manifest, studies: int) -> dict[str, float]:
    """The official metric on full phantom studies, in the shape of the other figures."""
    with tempfile.TemporaryDirectory() as folder:
        found = phantom_score(Path(folder), studies=studies, weights=manifest.folder)
    low, high = found["interval"]["mean"]
    score, prior = found["score"]["mean"], found["prior"]["mean"]
    return {"loss": score, "prior": prior, "low": low, "high": high, "n": 25 * studies, "studies": studies}


def other_models(data: Path, group: str) -> dict[str, Mapping[str, NDArray[np.float64]]]:
    """Predictions of other people's models for one condition, by model and row id."""
    found = {}
    for name in YARDSTICKS[group]:
        path = data / "oof" / f"{name}_submission.csv"
        if path.is_file():
            table = pd.read_csv(path)
            found[name] = dict(zip(table[ROW_ID], table[list(SEVERITIES)].to_numpy(), strict=True))
    return found


def _with_interval(figure: Mapping[str, float], name: str) -> str:
    return f"{figure[name]:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def print_losses(data: Path, graded: Mapping[str, tuple[str, Graded]], figures: Mapping[str, dict]) -> None:
    """One line a figure, with the yardsticks on the very same rows."""
    print("\n| weighted log loss | kernel (95 % interval) | prior | n | studies | yardsticks on the same rows |")
    print("|---|---|---|---|---|---|")
    for name, figure in figures.items():
        beside = []
        if name in graded:
            group, rows = graded[name]
            for model, others in other_models(data, group).items():
                if (held := yardstick(rows, others)) is not None:
                    beside.append(f"{model} {held[0]:.3f}" + ("" if held[1] == figure["n"] else f" ({held[1]} rows)"))
        cells = (
            name,
            _with_interval(figure, "loss"),
            f"{figure['prior']:.3f}",
            figure["n"],
            figure["studies"],
            "; ".join(beside) or "–",
        )
        print(f"| {' | '.join(map(str, cells))} |")


def print_members(each: Iterable[tuple[str, str, Graded]]) -> dict[str, dict[str, dict[str, float]]]:
    """One line a member and figure; returns member → figure name → loss figure."""
    print("\n| member | figure | loss alone, uncalibrated (95 % interval) | n | studies |")
    print("|---|---|---|---|---|")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, member, rows in each:
        figure = found.setdefault(member, {})[name] = loss_figure(rows)
        cells = (member, name, _with_interval(figure, "loss"), figure["n"], figure["studies"])
        print(f"| {' | '.join(map(str, cells))} |")
    return found


def print_locations(figures: Mapping[str, dict[str, float]]) -> None:
    """One line a pack."""
    print("\n| found at the right level within | 2 % | 3 % | 6 % of the frame | right level | points | studies |")
    print("|---|---|---|---|---|---|---|")
    for name, figure in figures.items():
        shares = [f"{100 * figure[key]:.1f} %" for key in list(figure)[:4]]
        print(f"| {' | '.join([name, *shares, str(figure['n']), str(figure['studies'])])} |")


def print_reliability(graded: Mapping[str, tuple[str, Graded]]) -> None:
    """What was said beside what happened, per grade and bin."""
    print("\n| figure | grade | probability | n | said | happened |")
    print("|---|---|---|---|---|---|")
    for name, (_, rows) in graded.items():
        for entry in reliability(rows):
            cells = (name, entry["grade"], f"{entry['from']:.2f} to {entry['to']:.2f}", entry["n"])
            print(f"| {' | '.join(map(str, cells))} | {entry['said']:.3f} | {entry['happened']:.3f} |")


def print_ranking(figure: Mapping[str, float]) -> None:
    """One sentence."""
    area = _with_interval(figure, "area")
    print(f"\nStenosis boxes told from none on sagittal T2, area under the curve within levels: {area}", end="")
    print(f", {figure['n']} levels of {figure['studies']} patients")


def main() -> None:
    """Measure, print the tables, and write the figures as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--oof", action="store_true", help="judge each row by the checkpoints that left its fold out")
    parser.add_argument("--weights", type=Path, help="folder with manifest.json (default: the package's own)")
    parser.add_argument("--phantoms", type=int, default=40, metavar="N", help="phantom studies to grade, 0 for none")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    setting = Setting(arguments.data, read_manifest(arguments.weights), arguments.oof)
    said = verdicts(setting)
    graded = grading(setting.manifest, said)
    places, found = localising(setting)
    graded |= found
    losses = {name: loss_figure(rows) for name, (_, rows) in graded.items()}
    if arguments.phantoms:
        losses["phantom"] = phantoms(setting.manifest, arguments.phantoms)
    print_losses(arguments.data, graded, losses)
    figures: dict[str, dict] = losses | places | {"members": print_members(member_rows(said))}
    print_locations(places)
    if (setting.data / "sudirman_sagittal" / "boxes.csv").is_file():
        boxed = predictions.boxed_canals(setting.manifest, setting.data, out_of_fold=setting.out_of_fold)
        ranked = ranking_figure(boxed)
        if not np.isnan(ranked["area"]):  # a level with and without boxes is there to compare
            figures["canal_boxes"] = ranked
            print_ranking(ranked)
    print_reliability(graded)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
