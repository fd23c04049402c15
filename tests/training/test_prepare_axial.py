import json
import sys

import numpy as np
import pytest
import torch

from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import read_manifest
from tests.conftest import BACKBONE
from tests.training.conftest import SEEDS
from training import pack_crops, prepare_axial
from training.examples import GradeExamples, load
from training.fold_checkpoints import localiser_runs


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "axial_points_1"
    folder.mkdir()
    torch.manual_seed(0)
    torch.save({"average": HeatmapNet(BACKBONE, points=2).state_dict()}, folder / "last.pt")
    (folder / "result.json").write_text(json.dumps({"settings": {"backbone": BACKBONE, "fold": "1"}}))
    return folder


def test_crops_of_every_fold_are_cut_where_one_localiser_was_trained(packs_folder, run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "argv", ["prepare_axial", str(packs_folder), str(tmp_path), str(run)])
    prepare_axial.main()
    folds = set(load(tmp_path / "axial.npz", GradeExamples).fold.tolist())
    assert folds == {seed % 4 for seed in SEEDS}
    assert {fold for fold in folds if f"crops of fold {fold} are cut by localisers" in caplog.text} == folds - {1}


def test_measured_are_only_crops_with_a_localiser_that_has_not_seen_them(packs_folder, run):
    assert set(pack_crops.axial(packs_folder, localiser_runs([run], points=2)).fold) == {1}


def test_without_runs_the_shipped_localisers_cut_what_they_have_not_seen(packs_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prepare_axial", str(packs_folder), str(tmp_path)])
    prepare_axial.main()
    shipped = {item.fold for item in read_manifest(None).axial.files}
    assert set(load(tmp_path / "axial.npz", GradeExamples).fold) <= shipped


def test_shifted_crops_have_a_neighbour_in_the_middle_and_lack_one_slice(packs_folder, run):
    checkpoints = localiser_runs([run], points=2)
    right, shifted = (pack_crops.axial(packs_folder, checkpoints, shifted=value) for value in (False, True))
    assert right.shown.all()
    assert shifted.shown[:, 1].all()
    assert (shifted.shown.sum(axis=1) == 2).all()
    assert np.array_equal(right.row_id, shifted.row_id)
    assert np.array_equal(right.images[0], right.images[1][:, :, ::-1])


def test_an_unfinished_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        localiser_runs([tmp_path / "axial_points_0"], points=2)
