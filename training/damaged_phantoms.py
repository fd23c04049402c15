"""Phantoms as the competition's folder, with its gaps: `python -m training.damaged_phantoms DIR [--studies 120]`.

Some grades and marks are missing, and some series cannot be read: the data on which a recipe is rehearsed.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.study_truth import GRADES_TABLE, MARKS_TABLE
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.phantom import write_dataset
from lumbar_kernel.schema import ROWS

logger = logging.getLogger(__name__)

EMPTY_GRADES, EMPTY_MARKS = 0.012, 0.03
"""Fractions of the grades, as in the challenge, and of the marks that are taken away."""

BROKEN_SERIES = 20
"""One study in so many has a series without pixels, and one in as many a series whose pixels end half way."""

HEADER_BYTES = 200
"""What is left of a file without pixels: the preamble and a few elements."""


def write(folder: Path, *, studies: int, seed: int, workers: int = 1) -> tuple[int, int, int]:
    """Write the studies and damage them; returns how many grades, marks and series were taken.

    Args:
        folder: new, gets `train_images/` and the tables.
        studies: how many.
        seed: of phantoms and damage.
        workers: processes.
    """
    write_dataset(folder, studies=studies, seed=seed, split="train", workers=workers, reader_noise=1.0)
    rng = np.random.default_rng(seed)
    grades = _empty_grades(folder / GRADES_TABLE, rng)
    marks = _drop_marks(folder / MARKS_TABLE, rng)
    images = folder / "train_images"
    return grades, marks, _cut(images, rng, lambda _: HEADER_BYTES) + _cut(images, rng, lambda size: size // 2)


def _empty_grades(path: Path, rng: np.random.Generator) -> int:
    table = pd.read_csv(path, dtype=str)
    empty = rng.random((len(table), len(ROWS))) < EMPTY_GRADES
    table[list(ROWS)] = table[list(ROWS)].mask(empty)
    table.to_csv(path, index=False)
    return int(empty.sum())


def _drop_marks(path: Path, rng: np.random.Generator) -> int:
    table = pd.read_csv(path, dtype=str)
    dropped = rng.random(len(table)) < EMPTY_MARKS
    table[~dropped].to_csv(path, index=False)
    return int(dropped.sum())


def _cut(images: Path, rng: np.random.Generator, kept: Callable[[int], int]) -> int:
    """Shorten the files of a series of some studies to so many bytes of their size; returns how many series."""
    studies = sorted(images.iterdir())
    chosen = rng.choice(len(studies), max(1, len(studies) // BROKEN_SERIES), replace=False)
    for index in chosen:
        series = sorted(studies[index].iterdir())
        for file in series[rng.integers(len(series))].iterdir():
            whole = file.read_bytes()
            file.write_bytes(whole[: kept(len(whole))])
    return len(chosen)


def main() -> None:
    """Write the folder and log what it lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="new folder")
    parser.add_argument("--studies", type=int, default=120)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes (default: as many as cores)")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    grades, marks, series = write(given.folder, studies=given.studies, seed=given.seed, workers=given.workers)
    logger.info(
        "%d studies; without %d grades and %d marks; %d unreadable series", given.studies, grades, marks, series
    )


if __name__ == "__main__":
    main()
