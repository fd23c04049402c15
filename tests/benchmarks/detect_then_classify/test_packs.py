import numpy as np
import pandas as pd
import pytest

from benchmarks.detect_then_classify.packs import crops, load_pack
from evaluation.held_out_studies import HELD_OUT_STUDIES
from lumbar_kernel.schema import CANAL, FORAMINAL, SUBARTICULAR
from tests.pack_files import write_packs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two studies of the test packs, one of them under the name of a study that is kept apart."""
    data = tmp_path_factory.mktemp("packs")
    write_packs(data, seeds=(40, 41))
    held_out = min(HELD_OUT_STUDIES)
    for table in (data / "sagittal_t1" / "points.csv", data / "axial_t2_crops" / "labels.csv"):
        rows = pd.read_csv(table, dtype={"study_id": str})
        rows["study_id"] = rows["study_id"].replace("41", held_out)
        rows = rows.assign(series_id="1", instance_number=range(len(rows)))
        rows.to_csv(table, index=False)
    return data


@pytest.mark.parametrize(("name", "groups"), [("sagittal_t1", {FORAMINAL}), ("axial_t2_crops", {CANAL, SUBARTICULAR})])
def test_rows_are_those_of_the_table_without_the_studies_kept_apart(folder, name, groups):
    pack = load_pack(folder, name)
    assert set(pack.study) == {"40"}
    assert set(pack.rows.group) == groups
    assert len(pack.rows.label) == {"sagittal_t1": 10, "axial_t2_crops": 15}[name]
    assert all(row.startswith("40_") for row in pack.rows.row_id)
    assert all(np.allclose(pack.boxes[k][t, 1:], point) for k, t, point in _of_axial(pack))


def _of_axial(pack):
    if pack.name == "axial_t2_crops":
        yield from zip(pack.rows.picture, pack.rows.target, pack.rows.point, strict=True)


def test_the_canal_lies_midway_between_the_recesses(folder):
    left, canal, right = load_pack(folder, "axial_t2_crops").boxes[0][:, 1:]
    assert np.allclose(canal, (left + right) / 2)
    assert left[1] > right[1]


def test_a_crop_has_its_place_in_the_middle_and_its_window_as_side():
    picture = np.zeros((100, 200), np.uint8)
    picture[30, 120] = 255
    for wider in (1.0, 1.5):
        cut = crops([picture], np.array([[30.5 / 100, 120.5 / 200]]), window=31 / 200, pixels=31, wider=wider)[0]
        middle = (np.array(cut.shape) - 1) / 2
        assert np.abs(np.array(np.unravel_index(cut.argmax(), cut.shape)) - middle).max() <= 0.5
