import pandas as pd

from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.schema import AXIAL_T2, ROWS, SAGITTAL_T1, SAGITTAL_T2
from training.damaged_phantoms import write


def test_what_was_taken_is_missing_and_the_rest_can_be_read(tmp_path):
    grades, marks, series = write(tmp_path, studies=3, seed=3)
    assert series == 2
    table = pd.read_csv(tmp_path / "train.csv")
    assert table[list(ROWS)].isna().sum().sum() >= grades
    assert len(pd.read_csv(tmp_path / "train_label_coordinates.csv")) > 10 * marks
    studies = [read_study(files) for files in find_studies(tmp_path, split="train")]
    assert len(studies) == 3
    read = sum(bool(study.slices(role)) for study in studies for role in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2))
    assert read == len(list(tmp_path.glob("train_images/*/*"))) - series
