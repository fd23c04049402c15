import json
import sys

import numpy as np

from lumbar_kernel.models.manifest import read_manifest
from tests.training.conftest import LOSS_KEYS, SEEDS
from training import evaluate
from training.soft_targets import read_predictions

PLACE_KEYS = {"within_2_percent", "within_3_percent", "within_6_percent", "right_level", "n", "studies"}


def run_evaluate(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
    evaluate.main()


def test_the_command_measures_the_packs_that_exist(packs_folder, trained, tmp_path, monkeypatch, capsys):
    run_evaluate(monkeypatch, packs_folder, "--phantoms", 0, "--json", tmp_path / "metrics.json")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    names = {"foraminal_marked", "foraminal_localised", "foraminal_stack", "assembled"}
    names |= {f"{group}_axial{ending}" for group in ("canal", "subarticular") for ending in ("", "_shifted")}
    for name in names:
        assert set(metrics[name]) == LOSS_KEYS - ({"accuracy"} if name == "assembled" else set())
    assert metrics["foraminal_marked"]["n"] == 10 * len(SEEDS)
    for name in ("t1_localisation", "sudirman_sagittal", "sudirman_sagittal_t1", "tianchi_t2"):
        assert set(metrics[name]) == PLACE_KEYS
    assert not {"spider_t2", "spider_midsagittal", "phantom"} & set(metrics)
    # The pictures are phantoms, which the shipped weights know: they must find them, T2 slices by themselves in most.
    assert metrics["t1_localisation"]["within_6_percent"] > 0.8
    assert metrics["sudirman_sagittal_t1"]["within_6_percent"] > 0.8
    assert metrics["sudirman_sagittal"]["within_6_percent"] > 0.6
    assert metrics["foraminal_marked"]["loss"] < metrics["foraminal_marked"]["prior"]
    assert 0 <= metrics["canal_boxes"]["low"] <= metrics["canal_boxes"]["area"] <= metrics["canal_boxes"]["high"] <= 1
    assert "foraminal_localised" in capsys.readouterr().out


def test_folds_limit_the_graded_crops(packs_folder, trained, tmp_path, monkeypatch):
    run_evaluate(monkeypatch, packs_folder, "--folds", 1, 2, "--phantoms", 0, "--json", tmp_path / "metrics.json")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    expected = 10 * sum(seed % 4 in (1, 2) for seed in SEEDS)
    assert metrics["foraminal_marked"]["n"] == metrics["foraminal_stack"]["n"] == expected
    assert metrics["t1_localisation"]["n"] == 10 * len(SEEDS)


def test_out_of_fold_rows_are_those_of_the_folds_left_out(packs_folder, trained, tmp_path, monkeypatch):
    files = ("--json", tmp_path / "metrics.json", "--predictions", tmp_path / "predictions.csv")
    run_evaluate(monkeypatch, packs_folder, "--oof", "--phantoms", 0, *files)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    written = read_predictions([tmp_path / "predictions.csv"])
    marked = [name for name in ("foraminal_marked", "canal_axial", "subarticular_axial") if name in metrics]
    assert len(written) == sum(metrics[name]["n"] for name in marked)
    assert np.allclose([grades.sum() for grades in written.values()], 1, atol=1e-5)
    members = [spec for spec in read_manifest(trained).members if spec.view == "sagittal_t1"]
    folds = {file.fold for spec in members for file in spec.files}
    assert metrics["foraminal_marked"]["n"] == 10 * sum(seed % 4 in folds for seed in SEEDS)
    for spec in members:
        own = metrics["members"][spec.name]["foraminal_marked"]
        assert own["n"] == 10 * sum(seed % 4 in {file.fold for file in spec.files} for seed in SEEDS)
        assert own["low"] <= own["loss"] <= own["high"]
