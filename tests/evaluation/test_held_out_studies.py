import shutil
import zipfile

import pytest

from evaluation.held_out_studies import TABLES, complete_studies
from lumbar_kernel.phantom import write_dataset

STUDIES = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Phantoms archived as the complete real studies are: one archive of images, the tables beside it."""
    folder = tmp_path_factory.mktemp("held_out")
    source = folder / "source"
    write_dataset(source, studies=STUDIES, seed=30, split="train")
    (folder / "rsna_dicom").mkdir()
    (folder / "rsna_tables").mkdir()
    with zipfile.ZipFile(folder / "rsna_dicom" / "studies.zip", "w") as archive:
        for file in (source / "train_images").rglob("*.dcm"):
            archive.write(file, file.relative_to(source))
    for name in TABLES:
        shutil.copy(source / name, folder / "rsna_tables")
    return folder


def test_every_labelled_study_comes_with_its_truth(data):
    found = list(complete_studies(data))
    assert len(found) == len({study.study_id for study, _ in found}) == STUDIES
    for study, truth in found:
        assert study.series
        assert (truth.grades >= 0).all()


@pytest.mark.parametrize("absent", ["rsna_dicom/studies.zip", *(f"rsna_tables/{name}" for name in TABLES)])
def test_there_are_none_without_archives_or_tables(data, tmp_path, absent):
    partial = shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("source"))
    (partial / absent).unlink()
    assert list(complete_studies(partial)) == []
