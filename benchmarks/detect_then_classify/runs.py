"""The training runs of a comparison: which there are, and a pool of processes that does those not done."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.detect_then_classify.classifiers import CLASSIFIERS, load_classifier, samples, train_classifier
from benchmarks.detect_then_classify.detector import Detector, train_detector
from benchmarks.detect_then_classify.packs import Pack, load_pack
from lumbar_kernel.schema import CANAL, FORAMINAL, SUBARTICULAR

logger = logging.getLogger(__name__)

GROUPS = {"sagittal_t1": (FORAMINAL,), "axial_t2_crops": (CANAL, SUBARTICULAR)}
"""The packs, and the conditions that they show."""

DETECTOR = "detector"
KINDS = (DETECTOR, *CLASSIFIERS)

EPOCHS = {DETECTOR: 20, "score_net": 30, "vgg19": 15}
"""Lengths of the runs."""

AXIAL_EPOCHS = 3
"""Factor by which the axial detector, which has a sixth of the pictures, is trained for longer."""

LOADERS = 4
"""Processes that read and vary pictures for a detector on a GPU; a processor does it between its steps."""


@dataclass(frozen=True)
class Run:
    """One network to train.

    Attributes:
        pack: that it learns from.
        fold: left out.
        kind: one of `KINDS`.
        group: condition of a classifier, "" for a detector.
        epochs: length.
    """

    pack: str
    fold: int
    kind: str
    group: str
    epochs: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return "_".join(part for part in (self.kind, self.pack, self.group, str(self.fold)) if part)

    def checkpoint(self, runs: Path) -> Path:
        """The trained weights."""
        folder = runs / self.name
        return folder / "run" / "weights" / "best.pt" if self.kind == DETECTOR else folder / "net.pt"

    def is_done(self, runs: Path) -> bool:
        """Whether it was finished with the same settings."""
        return self._recorded(runs / self.name / "done.json")

    def open_folder(self, runs: Path) -> Path:
        """The folder to train in: what an interrupted run left there, empty where that had other settings."""
        folder, began = runs / self.name, runs / self.name / "began.json"
        if folder.exists() and not self._recorded(began):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        began.write_text(self.as_text())
        return folder

    def as_text(self) -> str:
        """The settings, as they are recorded."""
        return json.dumps(asdict(self)) + "\n"

    def _recorded(self, path: Path) -> bool:
        return path.is_file() and path.read_text() == self.as_text()


@dataclass(frozen=True)
class Machine:
    """How runs are carried out.

    Attributes:
        runs: folder of all runs.
        data: folder of the packs.
        device: "cpu" or "cuda".
        workers: processes that train at the same time.
    """

    runs: Path
    data: Path
    device: str
    workers: int

    @property
    def detector_device(self) -> str:
        """The device as the detector's package calls it."""
        return "0" if self.device == "cuda" else "cpu"


def runs_of(
    folds: Mapping[str, Sequence[int]],
    epochs: Mapping[str, int],
    *,
    kinds: Sequence[str] = tuple(CLASSIFIERS),
    detectors: bool = True,
) -> Iterator[Run]:
    """Every run, those that take longest first.

    Args:
        folds: pack → folds to leave out.
        epochs: lengths by kind, the usual ones for kinds that are missing.
        kinds: classifiers.
        detectors: also train detectors.
    """
    lengths = {**EPOCHS, **epochs}
    for pack, own in folds.items() if detectors else ():
        factor = AXIAL_EPOCHS if pack == "axial_t2_crops" else 1
        yield from (Run(pack, fold, DETECTOR, "", factor * lengths[DETECTOR]) for fold in own)
    for kind in sorted(kinds, reverse=True):
        for pack, own in folds.items():
            for group in GROUPS[pack]:
                yield from (Run(pack, fold, kind, group, lengths[kind]) for fold in own)


def train_all(wanted: Sequence[Run], machine: Machine) -> None:
    """Train the runs that are not done."""
    waiting = [run for run in wanted if not run.is_done(machine.runs)]
    logger.info("%d of %d runs to train", len(waiting), len(wanted))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(machine.workers, mp_context=context) as pool:
        for run, _ in zip(waiting, pool.map(train, waiting, [machine] * len(waiting)), strict=True):
            logger.info("%s: done", run.name)


def train(run: Run, machine: Machine) -> None:
    """Train one network and record it as done."""
    cores = max(1, (os.cpu_count() or 1) // machine.workers)
    torch.set_num_threads(cores)
    folder = run.open_folder(machine.runs)
    pack = load_pack(machine.data, run.pack)
    if run.kind == DETECTOR:
        train_detector(
            pack,
            folder,
            fold=run.fold,
            epochs=run.epochs,
            device=machine.detector_device,
            loaders=LOADERS if machine.device == "cuda" else 0,
            settings=folder / "settings",
        )
        find_levels(pack, run, machine)
    else:
        data = samples(pack, run.group, fold=run.fold)
        path = run.checkpoint(machine.runs)
        train_classifier(run.kind, data, path, epochs=run.epochs, device=machine.device, seed=run.fold)
    (folder / "done.json").write_text(run.as_text())


def find_levels(pack: Pack, run: Run, machine: Machine) -> None:
    """Let a trained detector look at all pictures of the fold that it has not seen, and at their neighbours."""
    detector = load_detector(run, machine)
    pictures = np.flatnonzero(pack.fold == run.fold)
    found = detector.detect([pack.pictures[index] for index in pictures], size=pack.size)
    beside = detector.detect([pack.neighbours[index] for index in pictures] if pack.neighbours else [], size=pack.size)
    np.savez(machine.runs / run.name / "found.npz", pictures=pictures, found=found, beside=beside)


def load_detector(run: Run, machine: Machine) -> Detector:
    """The detector that a run trained."""
    settings = machine.runs / run.name / "settings"
    return Detector(run.checkpoint(machine.runs), device=machine.detector_device, settings=settings)


def load_classifiers(runs: Iterable[Run], machine: Machine) -> dict[str, nn.Module]:
    """The classifiers that some runs trained, by condition."""
    return {run.group: load_classifier(run.kind, run.checkpoint(machine.runs), device=machine.device) for run in runs}


def found_levels(run: Run, runs: Path) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """What `find_levels` found: indices of pictures, detections on them and on their neighbours (none without)."""
    with np.load(runs / run.name / "found.npz") as stored:
        return stored["pictures"], stored["found"], stored["beside"]
