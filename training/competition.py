"""Examples from the competition's own folder, full DICOM: `python -m training.competition DATA CACHE`.

DATA holds `train_images/`, `train.csv`, `train_label_coordinates.csv` and `train_series_descriptions.csv`; a phantom
written with `--split train` has the same layout. Studies are read one by one and kept in the cache as they are done,
so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.geometry import POSTERIOR, unit
from lumbar_kernel.localisation.landmarks import CANAL_BEHIND_MARGIN_MM, disc_normals
from lumbar_kernel.schema import CANAL, CONDITION_NAMES, FORAMINAL, LEVEL_NAMES, ROWS, SEVERITY_NAMES, SIDES
from lumbar_kernel.study import Study, StudyFiles
from training.examples import FOLDS, HELD_OUT_STUDIES, Examples, concatenate, load_any, save
from training.studies import KINDS, Origin, StudyTruth, examples_of

logger = logging.getLogger(__name__)

CONDITION_OF_NAME = {name: condition for condition, name in CONDITION_NAMES.items()}


def fold_of(study_id: str, folds: Mapping[str, int]) -> int:
    """The fold of a study: from a table where it stands there, else by a hash of its id, always the same."""
    if study_id in folds:
        return folds[study_id]
    return int(hashlib.sha256(study_id.encode()).hexdigest(), 16) % FOLDS


def marked_points(study: Study, marks: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The labelled coordinates of a study in mm LPS: "canal" (5, 3), "foramina" and "recesses" (5, 2, 3), NaN unmarked.

    Args:
        study: with the labelled series.
        marks: rows of `train_label_coordinates.csv`; x is the column and y the row, in pixels of the file.
    """
    places = {(series.series_id, item.instance_number): item.plane for series in study.series for item in series.slices}
    points = {name: np.full((5, 2, 3), np.nan) for name in ("canal", "foramina", "recesses")}
    for mark in marks.itertuples():
        plane = places.get((str(mark.series_id), int(mark.instance_number)))
        if plane is None:
            continue
        condition = CONDITION_OF_NAME[mark.condition]
        name = "canal" if condition == CANAL else "foramina" if FORAMINAL in condition else "recesses"
        side = 1 if condition.startswith(SIDES[1]) else 0
        points[name][LEVEL_NAMES.index(mark.level), side] = plane.to_mm(np.array([mark.y, mark.x]))
    points["canal"] = points["canal"][:, 0]
    return points


def truth_of(study: Study, marks: pd.DataFrame, labels: Mapping[str, object]) -> StudyTruth | None:
    """A study's truth from the two label tables; None when fewer than three canal points are marked."""
    points = marked_points(study, marks)
    canal = points["canal"]
    seen = ~np.isnan(canal[:, 0])
    if seen.sum() < 3:
        return None
    levels = np.arange(5)
    whole = np.stack([np.interp(levels, levels[seen], canal[seen, axis]) for axis in range(3)], axis=1)
    normal = disc_normals(whole + 1e-6 * np.outer(-levels, [0, 0, 1]))
    behind = unit(POSTERIOR - (normal @ POSTERIOR)[:, None] * normal)
    grades = [SEVERITY_NAMES.index(str(labels[row])) if labels.get(row) in SEVERITY_NAMES else -1 for row in ROWS]
    return StudyTruth(
        disc_margin=canal - CANAL_BEHIND_MARGIN_MM * behind,
        canal=canal,
        disc_normal=normal,
        foramina=points["foramina"],
        recesses=points["recesses"],
        grades=np.array(grades),
    )


def study_examples(
    files: StudyFiles, marks: pd.DataFrame, labels: Mapping[str, object], *, fold: int, cache: Path
) -> bool:
    """Write one study's examples into the cache; returns whether there were any."""
    if (cache / files.study_id / "done").exists():
        return True
    study = read_study(files)
    truth = truth_of(study, marks, labels)
    if truth is None:
        return False
    origin = Origin(group=files.study_id, fold=fold, source="rsna")
    rng = np.random.default_rng(int(hashlib.sha256(files.study_id.encode()).hexdigest()[:12], 16))
    for kind, examples in examples_of(study, truth, origin, rng).items():
        save(examples, cache / files.study_id / f"{kind}.npz")
    (cache / files.study_id).mkdir(parents=True, exist_ok=True)
    (cache / files.study_id / "done").touch()
    return True


def _job(job: tuple, cache: Path) -> bool:
    files, marks, labels, fold = job
    return study_examples(files, marks, labels, fold=fold, cache=cache)


def prepare(data: Path, cache: Path, *, folds: Mapping[str, int], workers: int) -> int:
    """Examples of all labelled studies as `rsna_<kind>.npz`; returns how many studies gave any."""
    table = pd.read_csv(data / "train.csv", dtype={"study_id": str}).set_index("study_id")
    marks = dict(iter(pd.read_csv(data / "train_label_coordinates.csv", dtype={"study_id": str}).groupby("study_id")))
    wanted = [f for f in find_studies(data, split="train") if f.study_id in marks and f.study_id in table.index]
    wanted = [files for files in wanted if files.study_id not in HELD_OUT_STUDIES]
    jobs = [(f, marks[f.study_id], table.loc[f.study_id].to_dict(), fold_of(f.study_id, folds)) for f in wanted]
    parts = cache / "rsna"
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        used = sum(tqdm(pool.map(partial(_job, cache=parts), jobs), total=len(jobs), unit="study"))
    for kind in KINDS:
        stored: list[Examples] = [load_any(path) for path in sorted(parts.glob(f"*/{kind}.npz"))]
        if stored:
            save(concatenate(stored), cache / f"rsna_{kind}.npz")
    return used


def main() -> None:
    """Prepare the cache and say how many studies were used."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--folds", type=Path, help="csv with study_id and fold; without it a hash decides")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folds = {}
    if arguments.folds:
        table = pd.read_csv(arguments.folds, dtype={"study_id": str})
        folds = dict(zip(table["study_id"], table["fold"], strict=True))
    used = prepare(arguments.data, arguments.cache, folds=folds, workers=arguments.workers)
    logger.info("examples of %d studies", used)


if __name__ == "__main__":
    main()
