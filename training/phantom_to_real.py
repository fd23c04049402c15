"""Accuracy on real images of networks trained on phantoms alone: `python -m training.phantom_to_real DATA_DIR RUNS`.

RUNS holds runs of `train_landmarks` and `train_grader` with `--sources phantoms`, named as in the recipe: `sagittal_0`,
`axial_points_0`, `foraminal_0`, `axial_0`. The runs that exist are measured on the parts of `shared/data` that exist.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.array_rows import select
from evaluation.held_out_studies import complete_studies
from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.localisation.axial import NO_AXIAL_LEVELS, axial_levels
from lumbar_kernel.localisation.landmarks import localise
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.schema import LEVEL_NAMES, SIDES
from lumbar_kernel.views import VIEWS
from training import train_grader, train_landmarks
from training.evaluate import locations, print_locations, print_losses
from training.evaluation_metrics import GradedRows, loss_metric
from training.fold_checkpoints import FoldCheckpoints
from training.member_predictions import CropSet, axial_set, foraminal_sets
from training.predictions import rows_of_head, window_grades
from training.run_results import is_finished, settings_of
from training.trainer import trained

logger = logging.getLogger(__name__)

LOCALISERS = {"sagittal": "sagittal", "axial_points": "axial"}
GRADERS = {"sagittal_t1": ("foraminal_0", "foraminal"), "axial_t2": ("axial_0", "axial")}
"""Run and task: localisers by the name of their run without its fold, graders by their view."""


@dataclass(frozen=True, eq=False)
class Nets:
    """The networks of the runs that exist.

    Attributes:
        localisers: by the keys of `LOCALISERS`.
        graders: by view.
        mixed: names of runs that were trained on more than phantoms.
    """

    localisers: dict[str, HeatmapNet]
    graders: dict[str, GradeNet]
    mixed: tuple[str, ...]


def load_nets(runs: Path) -> Nets:
    """The averaged weights of the finished runs; raises SystemExit without any."""
    localisers: dict[str, HeatmapNet] = {}
    graders: dict[str, GradeNet] = {}
    mixed: list[str] = []
    for name, task in LOCALISERS.items():
        if is_finished(run := runs / f"{name}_0"):
            localisers[name] = trained(train_landmarks.TASKS[task].net(settings_of(run)["backbone"]), run)
            mixed += [] if _only_phantoms(run) else [name]
    for view, (name, task) in GRADERS.items():
        if is_finished(run := runs / name):
            graders[view] = trained(train_grader.TASKS[task].net(settings_of(run)["backbone"]), run)
            mixed += [] if _only_phantoms(run) else [name]
    if not localisers and not graders:
        names = ", ".join([*(f"{name}_0" for name in LOCALISERS), *(name for name, _ in GRADERS.values())])
        msg = f"{runs} holds no finished run named {names}; train some with --sources phantoms"
        raise SystemExit(msg)
    return Nets(localisers, graders, tuple(mixed))


def _only_phantoms(run: Path) -> bool:
    settings = settings_of(run)
    return settings.get("sources") == str(["phantoms"]) and settings.get("start", "None") == "None"


def grade_packs(data: Path, nets: Nets, fold: int | None) -> dict[str, GradedRows]:
    """Metric name → graded rows of the packs of graded crops; both sides' canals are averaged."""
    rows = {}
    for item in _crop_sets(data, nets):
        chosen = item.examples if fold is None else select(item.examples, item.examples.fold == fold)
        predicted = window_grades([nets.graders[item.view]], chosen, VIEWS[item.view].geometry.shape)
        for name, group in item.metrics.items():
            head = VIEWS[item.view].groups.index(group)
            rows[name] = rows_of_head(chosen, predicted[:, head], head)
    return rows


def _crop_sets(data: Path, nets: Nets) -> Iterator[CropSet]:
    """The sets that there is a grader for; axial crops need the axial localiser as well."""
    if "sagittal_t1" in nets.graders and (data / "sagittal_t1").is_dir():
        yield from foraminal_sets(data)
    if "axial_t2" in nets.graders and "axial_points" in nets.localisers and (data / "axial_t2_crops").is_dir():
        yield axial_set(data, FoldCheckpoints(((0, nets.localisers["axial_points"]),), out_of_fold=False))


@dataclass(frozen=True)
class LandmarkError:
    """Distance between a localised landmark of a complete study and its label.

    Attributes:
        study, landmark, level: which; the landmark names its side.
        in_plane_mm: distance in the plane of the label.
        across_mm: distance along its normal.
    """

    study: str
    landmark: str
    level: str
    in_plane_mm: float
    across_mm: float


def landmark_errors(data: Path, nets: Nets) -> Iterator[LandmarkError]:
    """Errors of canal and foramina, and of recesses with a network for them, in every complete labelled study."""
    sagittal_normal = np.array([1.0, 0.0, 0.0])
    for study, truth in complete_studies(data):
        try:
            found = localise(study, [nets.localisers["sagittal"]])
        except LocalisationError as error:
            logger.warning("%s", error)
            continue
        axial = NO_AXIAL_LEVELS
        if "axial_points" in nets.localisers:
            _, axial = axial_levels(study, found, [nets.localisers["axial_points"]])
        for level, name in enumerate(LEVEL_NAMES):
            offset = found.canal[level] - truth.canal[level]
            yield _landmark_error(study.study_id, "canal", name, offset, sagittal_normal)
            for side, word in enumerate(SIDES):
                offset = found.foramina[level, side] - truth.foramina[level, side]
                yield _landmark_error(study.study_id, f"{word} foramen", name, offset, sagittal_normal)
                seen = axial[level]
                if seen is not None:
                    offset = seen.recesses[side] - truth.recesses[level, side]
                    yield _landmark_error(study.study_id, f"{word} recess", name, offset, seen.item.plane.normal)


def _landmark_error(
    study: str, landmark: str, level: str, offset: NDArray[np.float64], normal: NDArray[np.float64]
) -> LandmarkError:
    across = float(offset @ normal)
    return LandmarkError(study, landmark, level, float(np.linalg.norm(offset - across * normal)), abs(across))


def print_landmark_errors(found: list[LandmarkError]) -> None:
    """One line per study and kind of landmark: the errors of the levels, and how many are within 6 mm."""
    print("\n| complete study | landmark | mm in the plane, L1/L2 to L5/S1 | mm across it | within 6 mm in the plane |")
    print("|---|---|---|---|---|")
    for study, landmark in dict.fromkeys((error.study, error.landmark) for error in found):
        levels = [error for error in found if (error.study, error.landmark) == (study, landmark)]
        plane = ", ".join(f"{error.in_plane_mm:.1f}" for error in levels)
        across = ", ".join(f"{error.across_mm:.1f}" for error in levels)
        near = sum(error.in_plane_mm < 6 for error in levels)
        print(f"| {study} | {landmark} | {plane} | {across} | {near} of {len(levels)} |")


def main() -> None:
    """Measure, print the tables, and write the metrics as JSON where requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("runs", type=Path, metavar="RUNS")
    parser.add_argument("--fold", type=int, help="only the real slices and crops of one fold, to be quicker")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if not arguments.data.is_dir():
        raise SystemExit(f"the real data are needed: {arguments.data} is not a folder with the layout of shared/data")
    nets = load_nets(arguments.runs)
    for name in nets.mixed:
        logger.warning("run %s was trained on more than phantoms: its metrics do not measure phantom-to-real", name)
    rows = grade_packs(arguments.data, nets, arguments.fold)
    losses = {name: loss_metric(own) for name, own in rows.items()}
    print_losses(arguments.data, rows, losses)
    places: dict[str, dict[str, float]] = {}
    found: list[LandmarkError] = []
    if "sagittal" in nets.localisers:
        localiser = ((0 if arguments.fold is None else arguments.fold, nets.localisers["sagittal"]),)
        places, _ = locations(arguments.data, FoldCheckpoints(localiser, out_of_fold=arguments.fold is not None))
        print_locations(places)
        found = list(landmark_errors(arguments.data, nets))
        print_landmark_errors(found)
    if not losses and not places and not found:
        raise SystemExit(f"{arguments.data} holds no pack on which these runs can be measured")
    if arguments.json:
        metrics = losses | places | {"complete_studies": [error.__dict__ for error in found]}
        arguments.json.write_text(json.dumps(metrics, indent=1) + "\n")


if __name__ == "__main__":
    main()
