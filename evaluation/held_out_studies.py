"""The complete labelled studies of the challenge in `rsna_dicom/`: for measuring and viewing, never for training."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from evaluation.study_truth import GRADES_TABLE, MARKS_TABLE, StudyTruth, read_labels, truth_of
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.study import Study

HELD_OUT_STUDIES = frozenset({"100206310", "4646740", "44036939"})
"""The complete real studies: never trained on, in any pack that holds their slices."""

SERIES_TABLE = "train_series_descriptions.csv"
TABLES = (GRADES_TABLE, MARKS_TABLE, SERIES_TABLE)


def complete_studies(data: Path) -> Iterator[tuple[Study, StudyTruth]]:
    """Each complete labelled study with its labels in mm; none where `rsna_dicom/` or the tables are absent."""
    archives = sorted((data / "rsna_dicom").glob("*.zip"))
    if not archives or not all((data / "rsna_tables" / name).is_file() for name in TABLES):
        return
    labels = read_labels(data / "rsna_tables")
    with tempfile.TemporaryDirectory() as folder:
        for archive in archives:
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)
        shutil.copy(data / "rsna_tables" / SERIES_TABLE, folder)
        for files in find_studies(Path(folder), split="train"):
            if files.series and files.study_id in labels:  # else named by one of the tables only
                study = read_study(files)
                truth = truth_of(study, labels[files.study_id])
                if truth is not None:
                    yield study, truth
