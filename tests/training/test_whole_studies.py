import shutil

import numpy as np
import pandas as pd
import pytest

from lumbar_kernel.models.checkpoints import load_networks
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.runtime.fault_injection import VARIABLE
from lumbar_kernel.schema import ROWS
from lumbar_kernel.study import Study
from training.whole_studies import StudyPredictions, of_fold, predict_all, predict_study


@pytest.fixture(scope="module")
def manifest(trained):
    return read_manifest(trained)


def test_a_fold_keeps_the_checkpoints_that_were_trained_without_it(manifest):
    own = of_fold(manifest, 0)
    files = [item for spec in (own.sagittal, own.axial, *own.members) for item in spec.files]
    assert {item.fold for item in files} == {0}
    assert of_fold(manifest, 77) is None


def test_predictions_survive_the_disk(tmp_path):
    own = StudyPredictions("12", 3, np.linspace(0, 1, 25), {"a": np.full((25, 3), np.nan), "b": np.ones((25, 3))})
    own.save(tmp_path)
    again = StudyPredictions.load(tmp_path / "12.npz")
    assert (again.study_id, again.fold, set(again.predictions)) == ("12", 3, {"a", "b"})
    assert np.array_equal(again.predictions["a"], own.predictions["a"], equal_nan=True)
    assert np.array_equal(again.weight, own.weight)


def test_every_member_grades_a_study_with_places_of_its_own(manifest, phantom):
    models, _ = load_networks(of_fold(manifest, 0), "cpu", strict=True)
    found = predict_study(phantom.study, models, fold=0)
    assert set(found.predictions) == set(models.members)
    graded = np.nanmax(np.stack(list(found.predictions.values())), axis=0)
    assert np.isfinite(graded).all()
    assert found.weight.shape == (len(ROWS),)
    nothing = predict_study(Study("1", ()), models, fold=0)
    assert not nothing.predictions
    assert not nothing.weight.any()


def test_finished_studies_are_not_predicted_again(manifest, train_split, tmp_path, monkeypatch):
    study = pd.read_csv(train_split / "train.csv", dtype={"study_id": str})["study_id"][0]
    options = {"folds": {study: 0}, "workers": 1}
    first = list(predict_all(train_split, manifest, tmp_path / "out", **options))
    monkeypatch.setattr("training.whole_studies.predict_study", lambda *_, **__: pytest.fail("predicted again"))
    second = list(predict_all(train_split, manifest, tmp_path / "out", **options))
    assert [item.study_id for item in first] == [item.study_id for item in second] == [study]


def test_a_study_that_cannot_be_read_is_left_out(manifest, train_split, tmp_path, monkeypatch):
    data, broken = shutil.copytree(train_split, tmp_path / "data"), "7"
    for name in ("train.csv", "train_label_coordinates.csv", "train_series_descriptions.csv"):
        table = pd.read_csv(data / name, dtype=str)
        (whole,) = set(table["study_id"])
        pd.concat([table.assign(study_id=broken), table]).to_csv(data / name, index=False)
    shutil.copytree(data / "train_images" / whole, data / "train_images" / broken)
    monkeypatch.setenv(VARIABLE, f"read:nan:{broken}")
    folds = {broken: 0, whole: 0}
    found = list(predict_all(data, manifest, tmp_path / "out", folds=folds, workers=2))
    assert [item.study_id for item in found] == [whole]
