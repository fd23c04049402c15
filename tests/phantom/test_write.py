from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lumbar_kernel import schema
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.phantom import PhantomStudy, dataset_study, write_dataset, write_study
from lumbar_kernel.phantom.write import COORDINATE_COLUMNS, TRAIN_COLUMNS, TRAIN_TARGETS, study_rows


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantoms")
    write_dataset(out, studies=2, seed=5, split="test")
    return out


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_files_read_back_as_the_study_in_memory(phantom: PhantomStudy, tmp_path: Path) -> None:
    write_study(phantom, tmp_path)
    for series in phantom.study.series:
        for item in series.slices[::5]:
            ds = pydicom.dcmread(tmp_path / series.series_id / f"{item.instance_number}.dcm")
            assert np.array_equal(ds.pixel_array, item.pixels)
            assert np.allclose(np.array(ds.ImagePositionPatient, float), item.plane.origin, atol=1e-5)
            across, down = np.split(np.array(ds.ImageOrientationPatient, float), 2)
            assert np.allclose(across, item.plane.row_direction, atol=1e-6)
            assert np.allclose(down, item.plane.column_direction, atol=1e-6)
            assert ds.PixelSpacing == pytest.approx([item.plane.row_spacing, item.plane.column_spacing])


def test_compressed_files_hold_the_same_pixels(phantom: PhantomStudy, tmp_path: Path) -> None:
    small = replace(phantom.study.series[0], slices=phantom.study.series[0].slices[:1])
    for study_id in ("4200001", "4200002", "4200003", "4200004", "4200005", "4200006", "4200007", "4200008"):
        study = replace(phantom.study, study_id=study_id, series=(small,))
        write_study(replace(phantom, study=study, protocols=phantom.protocols[:1]), tmp_path / study_id)
    files = [pydicom.dcmread(path) for path in tmp_path.rglob("*.dcm")]
    assert len({str(ds.file_meta.TransferSyntaxUID) for ds in files}) == 2
    assert all(np.array_equal(ds.pixel_array, small.slices[0].pixels) for ds in files)
    assert all(int(np.max(ds.pixel_array)) < 2**ds.BitsStored for ds in files)


def test_tables_have_the_competitions_columns(dataset: Path) -> None:
    assert read_csv(dataset / "test_series_descriptions.csv")[0] == ["study_id", "series_id", "series_description"]
    assert read_csv(dataset / "truth.csv")[0] == list(TRAIN_COLUMNS)
    assert read_csv(dataset / "truth_label_coordinates.csv")[0] == list(COORDINATE_COLUMNS)
    submission = read_csv(dataset / "sample_submission.csv")
    assert submission[0] == list(schema.SUBMISSION_COLUMNS)
    studies = sorted(path.name for path in (dataset / "test_images").iterdir())
    assert [row[0] for row in submission[1:]] == [row_id for study in studies for row_id in schema.row_ids(study)]
    assert TRAIN_COLUMNS[1:6] == tuple(f"spinal_canal_stenosis_{level}" for level in schema.LEVELS)


def test_every_listed_series_is_on_disk_and_every_mark_on_a_slice(dataset: Path) -> None:
    listed = {tuple(row[:2]) for row in read_csv(dataset / "test_series_descriptions.csv")[1:]}
    on_disk = {(path.parent.name, path.name) for path in (dataset / "test_images").glob("*/*")}
    assert listed == on_disk
    for study, series, instance, _, level, x, y in read_csv(dataset / "truth_label_coordinates.csv")[1:]:
        ds = pydicom.dcmread(dataset / "test_images" / study / series / f"{instance}.dcm", stop_before_pixels=True)
        assert 0 <= float(x) < ds.Columns
        assert 0 <= float(y) < ds.Rows
        assert level in schema.LEVEL_NAMES


def test_workers_do_not_change_the_files(dataset: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path, studies=2, seed=5, split="test", workers=2)
    files = sorted(path.relative_to(dataset) for path in dataset.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((dataset / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)


def test_a_folder_that_holds_studies_of_the_split_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_dataset(tmp_path, studies=0, seed=0, split="test")
    write_dataset(tmp_path, studies=0, seed=0, split="test")  # no study is there yet
    study = tmp_path / "test_images" / "1000000000"
    study.mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(ConfigError, match=r"test_images.* holds studies"):
        write_dataset(tmp_path, studies=1, seed=5, split="test")
    assert [*study.parent.iterdir()] == [study]
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    write_dataset(tmp_path, studies=0, seed=5, split="train")  # beside the other split


def test_a_study_in_memory_has_the_grades_and_marks_of_the_tables(tmp_path: Path) -> None:
    write_dataset(tmp_path, studies=1, seed=3, split="train", balanced=True, reader_noise=2.0)
    rows = study_rows(dataset_study(3, 0, balanced=True, reader_noise=2.0))
    assert read_csv(tmp_path / "train.csv")[1:] == [list(map(str, rows.grades))]
    marks = read_csv(tmp_path / "train_label_coordinates.csv")[1:]
    assert marks == [list(map(str, row)) for row in rows.coordinates]
    assert rows.grades != study_rows(dataset_study(3, 0)).grades


@pytest.mark.parametrize("lost", schema.SERIES_DESCRIPTIONS)
def test_what_is_marked_on_a_missing_series_has_no_grade(phantom: PhantomStudy, lost: str) -> None:
    left = [index for index, series in enumerate(phantom.study.series) if series.role != lost]
    series, protocols = (tuple(items[i] for i in left) for items in (phantom.study.series, phantom.protocols))
    without = replace(phantom, study=replace(phantom.study, series=series), protocols=protocols)
    whole, rows = (study_rows(one) for one in (phantom, without))
    for target, before, after in zip(TRAIN_TARGETS, whole.grades[1:], rows.grades[1:], strict=True):
        assert after == ("" if schema.MARKED_ON[target.group] == lost else before)


def test_train_split_is_named_as_in_the_competition_and_bad_splits_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, studies=0, seed=1, split="train")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"train_images", "train.csv", "train_series_descriptions.csv", "train_label_coordinates.csv"}
    with pytest.raises(ConfigError, match="'valid'"):
        write_dataset(tmp_path, studies=1, seed=1, split="valid")
