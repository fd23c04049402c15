"""The complete labelled studies of the challenge in `rsna_dicom/`: for measuring and viewing, never for training."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from evaluation.study_truth import StudyTruth, truth_of
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.study import Study

HELD_OUT_STUDIES = frozenset({"100206310", "4646740", "44036939"})
"""The complete real studies: never trained on, in any pack that holds their slices."""

TABLES = ("train.csv", "train_label_coordinates.csv", "train_series_descriptions.csv")


def complete_studies(data: Path) -> Iterator[tuple[Study, StudyTruth]]:
    """Each complete labelled study with its labels in mm; none where `rsna_dicom/` or the tables are absent."""
    archives = sorted((data / "rsna_dicom").glob("*.zip"))
    if not archives or not all((data / "rsna_tables" / name).is_file() for name in TABLES):
        return
    labels, marks = (pd.read_csv(data / "rsna_tables" / name, dtype={"study_id": str}) for name in TABLES[:2])
    with tempfile.TemporaryDirectory() as folder:
        for archive in archives:
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)
        shutil.copy(data / "rsna_tables" / TABLES[2], folder)
        for files in find_studies(Path(folder), split="train"):
            if not files.series:  # named only by the table
                continue
            study = read_study(files)
            row = labels[labels["study_id"] == study.study_id].iloc[0].to_dict()
            truth = truth_of(study, marks[marks["study_id"] == study.study_id], row)
            if truth is not None:
                yield study, truth
