"""Detector-then-classifier entries beside the kernel: `python -m benchmarks.peers DATA --runs DIR [--folds 0 1]`.

YOLOv8n finds the levels on single slices, and a small score net or VGG-19 grades a crop of 32 × 32 pixels at each, as
the public entries of that kind do. Both are trained from random weights on the packs in DATA without one fold, and
graded on that fold: the rows, and the names of the figures, are those of `training.evaluate --oof`. Finished runs in
DIR are not repeated. Needs the extra `peers`.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detect_then_classify import cost
from benchmarks.detect_then_classify.classifiers import CLASSIFIERS
from benchmarks.detect_then_classify.packs import load_pack
from benchmarks.detect_then_classify.runs import (
    DETECTOR,
    GROUPS,
    KINDS,
    Machine,
    Run,
    found_levels,
    load_classifiers,
    load_detector,
    runs_of,
    train_all,
)
from benchmarks.detect_then_classify.scoring import (
    Graded,
    found_figure,
    grade,
    loss_figure,
    marked_places,
    places,
    training_prior,
)
from benchmarks.tables import table_head, table_row
from evaluation.array_rows import concatenate

FOLDS = {"sagittal_t1": (0, 1), "axial_t2_crops": (0, 1, 2, 3)}
"""The folds of the rows that `docs/results.md` reports."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not trained, score it, print the tables and return 0."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folds = {pack: tuple(given.folds or own) for pack, own in FOLDS.items() if pack in given.packs}
    machine = Machine(given.runs, given.data, given.device, given.workers)
    runs = list(runs_of(folds, _lengths(given.epochs), kinds=given.classifiers, detectors=not given.marked))
    train_all(runs, machine)
    figures = measure(runs, machine)
    print(text(figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of packs, laid out as shared/data")
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="folder for what is trained")
    parser.add_argument("--packs", nargs="+", choices=GROUPS, default=list(GROUPS), help="(default: both)")
    parser.add_argument("--folds", type=int, nargs="+", metavar="N", help="(default: 0 1 of T1, 0 1 2 3 of axial T2)")
    parser.add_argument(
        "--classifiers", nargs="+", choices=CLASSIFIERS, default=list(CLASSIFIERS), help="(default: all)"
    )
    parser.add_argument(
        "--epochs",
        nargs="+",
        default=[],
        metavar="[KIND=]N",
        help=f"length of every run, or of a kind: {', '.join(KINDS)}; axial detectors take three times as many",
    )
    parser.add_argument(
        "--marked", action="store_true", help="without detectors: the figures at the marked points alone"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="networks that train at the same time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser


def _lengths(given: Sequence[str]) -> dict[str, int]:
    """Epochs by kind from `N` or `KIND=N`; raises SystemExit for anything else."""
    lengths: dict[str, int] = {}
    for item in given:
        kind, _, count = item.rpartition("=")
        if not count.isdecimal() or (kind and kind not in KINDS):
            raise SystemExit(f"--epochs: {item!r} is neither a number nor {', '.join(f'{name}=N' for name in KINDS)}")
        lengths |= dict.fromkeys([kind] if kind else KINDS, int(count))
    return lengths


def measure(runs: Sequence[Run], machine: Machine) -> dict[str, Any]:
    """Figures by classifier and name, shares of levels found by pack, and the cost of each classifier's entry."""
    kinds = list(dict.fromkeys(run.kind for run in runs if run.kind != DETECTOR))
    graded: dict[str, dict[str, list[Graded]]] = {kind: {} for kind in kinds}
    found: dict[str, list[dict[str, NDArray[np.bool_]]]] = {}
    for name, fold in dict.fromkeys((run.pack, run.fold) for run in runs):
        pack, own = load_pack(machine.data, name), _by_kind(runs, name, fold)
        figures = marked_places(pack, fold=fold)
        for detector in own.get(DETECTOR, ()):
            seen = found_levels(detector, machine.runs)
            found.setdefault(name, []).append(found_figure(pack, *seen[:2]))
            figures = places(pack, *seen)
        constants = training_prior(pack, fold)
        nets = {kind: load_classifiers(own[kind], machine) for kind in kinds}
        for item in figures:
            for kind in kinds:
                rows = grade(item, pack, nets[kind], constants=constants, device=machine.device)
                graded[kind].setdefault(item.figure, []).append(rows)
    losses = {
        kind: {figure: loss_figure(concatenate(parts)) for figure, parts in of_kind.items()}
        for kind, of_kind in graded.items()
    }
    return {
        "losses": losses,
        "found": {
            pack: {key: float(np.concatenate([part[key] for part in parts]).mean()) for key in ("found", "near")}
            | {"n": sum(len(part["found"]) for part in parts)}
            for pack, parts in found.items()
        },
        "cost": {kind: _cost(kind, runs, machine) for kind in kinds} if found else {},
        "epochs": {run.name: run.epochs for run in runs},
    }


def _by_kind(runs: Sequence[Run], pack: str, fold: int) -> dict[str, list[Run]]:
    """The runs of a pack without a fold, by kind."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if (run.pack, run.fold) == (pack, fold):
            found.setdefault(run.kind, []).append(run)
    return found


def _cost(kind: str, runs: Sequence[Run], machine: Machine) -> dict[str, float]:
    """The cost of one fold's detectors with one kind of classifier."""
    first: dict[str, Run] = {}
    for run in runs:
        if run.kind == DETECTOR:
            first.setdefault(run.pack, run)
    detectors, nets, files = {}, {}, []
    for pack, detector in first.items():
        classifiers = _by_kind(runs, pack, detector.fold)[kind]
        detectors[pack], nets[pack] = load_detector(detector, machine), load_classifiers(classifiers, machine)
        files += [run.checkpoint(machine.runs) for run in (detector, *classifiers)]
    packs = {pack: load_pack(machine.data, pack) for pack in first}
    count = sum(item.parameters for item in detectors.values())
    return {
        **cost.study_seconds(packs, detectors, nets, device=machine.device),
        "megabytes": cost.megabytes(files),
        "parameters": count + cost.parameters([net for own in nets.values() for net in own.values()]),
    }


def text(figures: Mapping[str, Any]) -> str:
    """The figures as tables."""
    names = ("weighted log loss", "entry", "loss (95 % interval)", "prior", "found", "accuracy", "n", "studies")
    lines = [table_head(*names)]
    for kind, losses in figures["losses"].items():
        for name, item in losses.items():
            interval = f"{item['loss']:.3f} ({item['low']:.3f} to {item['high']:.3f})"
            shares = [f"{100 * item[key]:.1f} %" for key in ("found", "accuracy")]
            lines.append(table_row(name, kind, interval, f"{item['prior']:.3f}", *shares, item["n"], item["studies"]))
    lines += ["", table_head("marked places", "found", "within 6 % of the picture", "n")]
    for pack, item in figures["found"].items():
        lines.append(table_row(pack, *(f"{100 * item[key]:.1f} %" for key in ("found", "near")), item["n"]))
    lines += ["", table_head("entry, one fold", "seconds a study", "processor seconds", "MB", "weights")]
    for kind, item in figures["cost"].items():
        seconds = [f"{item[key]:.2f}" for key in ("seconds", "processor_seconds")]
        lines.append(table_row(kind, *seconds, f"{item['megabytes']:.0f}", f"{item['parameters'] / 1e6:.1f} million"))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
