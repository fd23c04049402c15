"""Examples from the competition's own folder, full DICOM: `python -m training.competition DATA CACHE`.

DATA holds `train_images/`, `train.csv`, `train_label_coordinates.csv` and `train_series_descriptions.csv`; a phantom
written with `--split train` has the same layout. Studies are read one by one and stored in the cache, so that an
interrupted run can be resumed.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from evaluation.array_rows import concatenate
from evaluation.held_out_studies import HELD_OUT_STUDIES
from evaluation.study_truth import StudyLabels, read_labels, truth_of
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.processes import process_pool
from lumbar_kernel.runtime.reader_process import try_read_study
from lumbar_kernel.study import StudyFiles
from lumbar_kernel.views import BASIC_VIEWS, VIEWS
from training.examples import FOLDS, Kind, example_file, layout, load, save
from training.studies import Origin, examples_of, kinds

logger = logging.getLogger(__name__)


def fold_of(study_id: str, folds: Mapping[str, int]) -> int:
    """The fold of a study: from a table if it is listed there, else by a hash of its id."""
    if study_id in folds:
        return folds[study_id]
    return int(hashlib.sha256(study_id.encode()).hexdigest(), 16) % FOLDS


def study_examples(files: StudyFiles, labels: StudyLabels, fold: int, *, cache: Path, views: Sequence[str]) -> bool:
    """Write one study's examples for graders of some views into the cache; returns whether there are any.

    Those that are there stay, unless the study's labels have changed since.
    """
    folder = cache / files.study_id
    done, checksum = folder / "done", _checksum(labels)
    dated, *before = done.read_text().split() if done.exists() else [""]
    if dated != checksum:
        shutil.rmtree(folder, ignore_errors=True)
        before = []
    elif set(views) <= set(before):
        return True
    read = try_read_study(files)
    if (study := read.study) is None:
        logger.warning("%s is left out: %s", files.study_id, read.error)
        return False
    truth = truth_of(study, labels)
    if truth is None:
        return False
    origin = Origin(group=files.study_id, fold=fold, source="rsna")
    rng = np.random.default_rng(int(hashlib.sha256(files.study_id.encode()).hexdigest()[:12], 16))
    for kind, examples in examples_of(study, truth, origin, rng, views=views).items():
        save(examples, folder / f"{kind}.npz")
    folder.mkdir(parents=True, exist_ok=True)
    done.write_text(" ".join([checksum, *sorted({*before, *views})]))
    return True


def _checksum(labels: StudyLabels) -> str:
    """It dates what is stored of a study: readers correct their labels."""
    return hashlib.sha256(repr((labels.grades, labels.marks.to_csv(index=False))).encode()).hexdigest()[:16]


def read_folds(path: Path | None) -> dict[str, int]:
    """Study → fold from a table with `study_id` and `fold`; nothing without one, so that a hash decides.

    Raises:
        ConfigError: a fold is none of those that the presets train.
    """
    if path is None:
        return {}
    table = pd.read_csv(path, dtype={"study_id": str})
    if odd := sorted(set(table["fold"]) - set(range(FOLDS))):
        msg = f"{path}: folds must be 0 to {FOLDS - 1}, not {odd[0]}"
        raise ConfigError(msg)
    return dict(zip(table["study_id"], table["fold"].astype(int), strict=True))


def labelled_studies(data: Path) -> list[StudyFiles]:
    """The studies with files, grades and marked points, without those that no training may see."""
    known = read_labels(data).keys() - HELD_OUT_STUDIES
    return [files for files in find_studies(data, split="train") if files.study_id in known and files.series]


def prepare(
    data: Path, cache: Path, *, folds: Mapping[str, int], workers: int, views: Sequence[str] = BASIC_VIEWS
) -> int:
    """Examples of all labelled studies as `rsna_<kind>.npz`; returns the number of studies with any."""
    labels, chosen = read_labels(data), labelled_studies(data)
    fold = {files.study_id: fold_of(files.study_id, folds) for files in chosen}
    if folds and (unlisted := fold.keys() - folds.keys()):
        logger.warning("%d of %d studies are not in the table of folds: a hash decides", len(unlisted), len(fold))
    parts = cache / "rsna" / layout()
    with process_pool(workers, with_main=True) as pool:
        job = partial(study_examples, cache=parts, views=views)
        own = [labels[files.study_id] for files in chosen]
        done = pool.map(job, chosen, own, [fold[files.study_id] for files in chosen])
        used: int = sum(tqdm(done, total=len(chosen), unit="study"))
    for name, kind in kinds(views).items():
        together = example_file(cache, "competition", name)
        if stored := _stored(parts, fold, name, kind):
            save(concatenate(stored), together)
        else:
            logger.warning("no study gives examples of %s: nothing of its kind is marked or readable", name)
            together.unlink(missing_ok=True)
    return used


def _stored(parts: Path, folds: Mapping[str, int], name: str, kind: type[Kind]) -> list[Kind]:
    """The examples of a kind of these studies in their folds: the cache may hold other studies, and other folds."""
    found = []
    for study_id, fold in sorted(folds.items()):
        if (path := parts / study_id / f"{name}.npz").exists():
            examples = load(path, kind)
            found.append(replace(examples, fold=np.full_like(examples.fold, fold)))
    return found


def main() -> None:
    """Prepare the cache and log how many studies were used."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--folds", type=Path, help="csv with study_id and fold; without it a hash decides")
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes (default: as many as cores)")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=BASIC_VIEWS, help="of the graders to train")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folds = read_folds(arguments.folds)
    used = prepare(arguments.data, arguments.cache, folds=folds, workers=arguments.workers, views=arguments.views)
    logger.info("examples of %d studies", used)


if __name__ == "__main__":
    main()
