"""A few studies repeated under new ids, to rehearse a test set of the hidden one's size."""

from __future__ import annotations

import csv
import itertools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from benchmarks.kaggle.check import study_ids
from lumbar_kernel.dicom.tables import COLUMNS
from lumbar_kernel.schema import SUBMISSION_COLUMNS, row_ids

HIDDEN_STUDIES = 722
"""About the size of the hidden test set: LumbarDISC has 2,697 patients, 1,975 of them in the training set."""

FIRST_ID = 900_000_000


def multiply(data: Path, out: Path, *, studies: int) -> Path:
    """Write a folder in the competition's layout that holds the studies of another again and again, by links.

    Args:
        data: folder in the competition's layout, with `test_series_descriptions.csv`.
        out: new folder.
        studies: how many the new folder holds.

    Raises:
        ValueError: the folder names no study in its table.
    """
    with (data / "test_series_descriptions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    originals = study_ids(data)
    if not originals:
        msg = f"{data} names no study in test_series_descriptions.csv"
        raise ValueError(msg)
    images = out / "test_images"
    images.mkdir(parents=True)
    new_ids = {str(FIRST_ID + k): original for k, original in zip(range(studies), itertools.cycle(originals))}
    for new_id, original in new_ids.items():
        shutil.copytree(data / "test_images" / original, images / new_id, copy_function=_link)
    series = [
        (new_id, row["series_id"], row["series_description"])
        for new_id, original in new_ids.items()
        for row in rows
        if row["study_id"] == original
    ]
    _write(out / "test_series_descriptions.csv", COLUMNS, series)
    third = round(1 / 3, 6)
    sample = [(row, third, third, third) for new_id in new_ids for row in row_ids(new_id)]
    _write(out / "sample_submission.csv", SUBMISSION_COLUMNS, sample)
    return out


def _link(source: str, target: str) -> None:
    """Let a file appear in a second place; folders are created, since discovery follows each folder only once."""
    try:
        os.link(source, target)
    except OSError:  # another disk
        Path(target).symlink_to(Path(source).resolve())


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
