"""Runs → `weights/`: safetensors and the manifest, `python -m training.export RUNS WEIGHTS`."""

from __future__ import annotations

import argparse
import hashlib
import logging
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.grading.crops import Crops, cut_crops
from lumbar_kernel.grading.grader import grade
from lumbar_kernel.localisation.axial import axial_levels
from lumbar_kernel.localisation.landmarks import localise
from lumbar_kernel.localisation.series_shift import align_series
from lumbar_kernel.models.checkpoints import load_localiser, load_member
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import STAGES, read_manifest
from lumbar_kernel.models.storage import to_bytes
from lumbar_kernel.phantom import write_dataset
from lumbar_kernel.study import StudyFiles
from lumbar_kernel.views import VIEWS, level_and_side
from training import manifest_entries
from training.manifest_entries import FileEntry, LocaliserEntry, ManifestEntries, MemberEntry
from training.presets import PRESETS, Network, Preset
from training.run_results import is_finished, settings_of
from training.train_grader import TASKS
from training.train_landmarks import TASKS as LANDMARK_TASKS
from training.trainer import averaged_weights

logger = logging.getLogger(__name__)

T = TypeVar("T")

REPEATS, ENOUGH_SECONDS = 4, 5.0
"""How often a stage or a member is timed; a large member less often, once it has taken so long."""


def export_file(run: Path, weights: Path) -> tuple[str, FileEntry]:
    """Write the averaged weights of a run; returns its architecture and manifest entry."""
    state = averaged_weights(run)
    # Counters that only training needs; torch fills them in on loading.
    kept = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    raw = to_bytes(kept)
    path = weights / f"{run.name}.safetensors"
    path.write_bytes(raw)
    settings = settings_of(run)
    digest = hashlib.sha256(raw).hexdigest()
    entry: FileEntry = {"file": path.name, "sha256": digest, "bytes": len(raw), "fold": int(settings["fold"])}
    return settings["backbone"], entry


def seconds_per_study(weights: Path, name: str, *, studies: int = 4) -> float:
    """Measured grading time of a member on this machine's processor, the shortest of a few."""
    manifest = read_manifest(weights)
    spec = next(item for item in manifest.members if item.name == name)
    view = VIEWS[spec.view]
    nets = load_member(spec, weights)
    count, geometry = len(level_and_side(view)), view.geometry
    images = np.random.default_rng(0).integers(0, 255, (count, geometry.slices, *geometry.shape), dtype=np.uint8)
    crops = Crops(images, np.ones(count, bool), np.ones((count, geometry.slices), bool))
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH_SECONDS:
        began = time.perf_counter()
        grade([crops] * studies, nets, view=view)
        times.append(time.perf_counter() - began)
    return round(min(times) / studies, 4)


def stage_seconds(weights: Path) -> dict[str, float]:
    """Measured time of each stage before grading for one phantom study, on this machine's processor.

    Nothing where the localiser does not find its levels.
    """
    manifest = read_manifest(weights)
    sagittal, axial = (load_localiser(s, weights) for s in (manifest.sagittal, manifest.axial))
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), studies=1, seed=0)
        (files,) = find_studies(Path(folder))
        try:
            runs = [_stages_of(files, sagittal, axial, manifest.views) for _ in range(REPEATS)]
        except LocalisationError as error:  # a localiser that has hardly learnt
            logger.warning("stages are not timed, usual seconds are expected: %s", error)
            return {}
    return {name: round(min(run[name] for run in runs), 4) for name in runs[0]}


def _stages_of(
    files: StudyFiles, sagittal: list[HeatmapNet], axial: list[HeatmapNet], needed: tuple[str, ...]
) -> dict[str, float]:
    began = [time.perf_counter()]

    def lap(result: T) -> T:
        began.append(time.perf_counter())
        return result

    study = lap(read_study(files))
    study = lap(align_series(study)).study
    landmarks = lap(localise(study, sagittal))
    study, axial_found = lap(axial_levels(study, landmarks, axial))
    lap(cut_crops(study, landmarks, axial_found, views=needed))
    return dict(zip(STAGES, np.diff(began).tolist(), strict=True))


def main(given: Sequence[str] | None = None) -> None:
    """Export the runs of a preset, uncalibrated; unfinished runs are left out with a warning."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--folds", type=int, nargs="+", metavar="N", help="runs of these folds alone (default: all)")
    parser.add_argument(
        "--update", action="store_true", help="keep what WEIGHTS holds of networks without a finished run in RUNS"
    )
    arguments = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments.weights.mkdir(parents=True, exist_ok=True)
    earlier = manifest_entries.read(arguments.weights) if arguments.update else None
    manifest = exported_manifest(
        PRESETS[arguments.preset], arguments.runs, arguments.weights, folds=arguments.folds, earlier=earlier
    )
    for stale in {item.name for item in arguments.weights.glob("*.safetensors")} - file_names(manifest):
        (arguments.weights / stale).unlink()
    manifest_entries.write(arguments.weights, manifest)
    manifest["stage_seconds"] = stage_seconds(arguments.weights)
    for name, entry in manifest["members"].items():
        entry["seconds_per_study"] = seconds_per_study(arguments.weights, name)
    manifest_entries.write(arguments.weights, manifest)
    size = sum(item.stat().st_size for item in arguments.weights.iterdir())
    logger.info("%d members, %.1f MB", len(manifest["members"]), size / 1e6)
    logger.info("the calibration is reset: the next step fits it to these weights")


def file_names(manifest: ManifestEntries) -> set[str]:
    """The names of the weights files that a manifest lists."""
    networks: list[LocaliserEntry | MemberEntry] = [*manifest["localisers"].values(), *manifest["members"].values()]
    return {item["file"] for network in networks for item in network["files"]}


def exported_manifest(
    preset: Preset,
    runs: Path,
    weights: Path,
    *,
    folds: Collection[int] | None = None,
    earlier: ManifestEntries | None = None,
) -> ManifestEntries:
    """Write the weights of a preset's finished runs; returns the manifest without measured seconds.

    Args:
        preset: names the runs.
        runs: folder of the runs.
        weights: folder for the weights.
        folds: whose runs are exported, all when None.
        earlier: manifest of that folder, whose entries stay for networks without a finished run; None without one.

    Raises:
        FileNotFoundError: a localiser has neither a finished run nor an earlier entry.
    """
    known, manifest = earlier or manifest_entries.empty(), manifest_entries.empty()
    for localiser in preset.localisers:
        if exported := _exported(localiser, runs, weights, folds):
            architecture, files = exported
            manifest["localisers"][localiser.task] = {
                "points": LANDMARK_TASKS[localiser.task].points,
                "architecture": architecture,
                "files": files,
            }
        elif localiser.task in known["localisers"]:
            manifest["localisers"][localiser.task] = known["localisers"][localiser.task]
        else:
            msg = f"{runs} holds no finished run of the {localiser.task} localiser, {', '.join(localiser.runs)}"
            raise FileNotFoundError(msg)
    for member in preset.members:
        if exported := _exported(member, runs, weights, folds):
            architecture, files = exported
            task = TASKS[member.task]
            manifest["members"][member.member] = {
                "view": task.view,
                "in_chans": task.in_chans,
                "ensemble_weight": dict.fromkeys(VIEWS[task.view].groups, member.weight),
                "seconds_per_study": 0.1,
                "architecture": architecture,
                "files": files,
            }
        elif member.member in known["members"]:
            manifest["members"][member.member] = known["members"][member.member]
    return manifest


def _exported(
    network: Network, runs: Path, weights: Path, folds: Collection[int] | None
) -> tuple[str, list[FileEntry]] | None:
    """Architecture and files of a network's finished runs; None without any."""
    wanted = [network.run(fold) for fold in network.folds if folds is None or fold in folds]
    finished = [name for name in wanted if is_finished(runs / name)]
    if missing := sorted(set(wanted) - set(finished)):
        logger.warning("not finished, left out: %s", ", ".join(missing))
    if not finished:
        return None
    architectures, files = zip(*(export_file(runs / name, weights) for name in finished), strict=True)
    if len(set(architectures)) != 1:
        msg = f"the checkpoints of one member must share an architecture, not {sorted(set(architectures))}"
        raise ValueError(msg)
    return architectures[0], list(files)


if __name__ == "__main__":
    main()
