import json
import os
import subprocess
import sys

import pytest

from benchmarks.peers import FOLDS, main, text
from tests.conftest import ROOT
from tests.pack_files import write_packs

COST = {"seconds": 0.5, "processor_seconds": 0.9, "megabytes": 17.2, "parameters": 5_800_000}
LOSS = {"loss": 0.61, "prior": 0.79, "low": 0.58, "high": 0.64, "n": 40, "studies": 4, "found": 0.9, "accuracy": 0.8}


def test_tables_show_every_figure():
    table = text(
        {
            "losses": {"score_net": {"foraminal_stack": LOSS}},
            "found": {"sagittal_t1": {"found": 0.9, "near": 0.85, "n": 40}},
            "cost": {"score_net": COST},
        }
    )
    assert "| foraminal_stack | score_net | 0.610 (0.580 to 0.640) | 0.790 | 90.0 % | 80.0 % | 40 | 4 |" in table
    assert "| sagittal_t1 | 90.0 % | 85.0 % | 40 |" in table
    assert "| score_net | 0.50 | 0.90 | 17 | 5.8 million |" in table


@pytest.mark.parametrize("epochs", ["many", "yolo=3", "score_net=-1"])
def test_a_length_that_cannot_be_read_is_refused(epochs, tmp_path):
    with pytest.raises(SystemExit, match="neither a number nor"):
        main([str(tmp_path), "--runs", str(tmp_path), "--epochs", epochs])


@pytest.mark.slow
def test_classifiers_alone_are_scored_at_the_marked_points_without_a_detector(tmp_path, capsys):
    write_packs(tmp_path / "packs", seeds=range(40, 46))
    command = [str(tmp_path / "packs"), "--runs", str(tmp_path / "runs"), "--packs", "sagittal_t1", "--marked"]
    command += ["--folds", "0", "--classifiers", "score_net", "--epochs", "1", "--json", str(tmp_path / "peers.json")]
    assert main(command) == 0
    figures = json.loads((tmp_path / "peers.json").read_text())
    (losses,) = figures["losses"].values()
    assert {name: (item["n"], item["found"]) for name, item in losses.items()} == {"foraminal_marked": (20, 1.0)}
    assert (figures["found"], figures["cost"]) == ({}, {})
    assert "foraminal_marked" in capsys.readouterr().out


@pytest.mark.slow
def test_entries_are_trained_and_scored_on_the_rows_of_a_fold(tmp_path):
    pytest.importorskip("ultralytics", reason="the detector is Ultralytics', extra `peers`", exc_type=ImportError)
    write_packs(tmp_path / "packs", seeds=range(40, 46))
    command = [sys.executable, "-m", "benchmarks.peers", tmp_path / "packs", "--runs", tmp_path / "runs"]
    command += ["--packs", "sagittal_t1", "--folds", 0, "--epochs", 1, "--json", tmp_path / "peers.json"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([str(item) for item in command], env=variables, cwd=tmp_path, check=True, capture_output=True)
    assert len(list(tmp_path.glob("runs/*/done.json"))) == 3
    figures = json.loads((tmp_path / "peers.json").read_text())
    for losses in figures["losses"].values():
        assert set(losses) == {"foraminal_marked", "foraminal_localised", "foraminal_stack"}
        assert all((item["n"], item["studies"]) == (20, 2) for item in losses.values())
    assert figures["found"]["sagittal_t1"]["n"] == 20
    assert not [path for path in tmp_path.iterdir() if path.name not in ("packs", "runs", "peers.json")]


def test_folds_are_those_of_the_reported_rows():
    assert FOLDS == {"sagittal_t1": (0, 1), "axial_t2_crops": (0, 1, 2, 3)}
