"""Transfer: what nets of runs reach on real packs, tested on packs painted from phantoms and the shipped weights."""

import json
import sys

import numpy as np
import pytest
import torch

from evaluation.held_out_studies import complete_studies
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.models.storage import from_bytes
from lumbar_kernel.schema import SAGITTAL_T1
from tests.pack_files import write_packs
from tests.real_data import SHARED
from training import phantom_to_real


def write_run(run, weights, *, backbone, sources="['phantoms']"):
    run.mkdir(parents=True)
    torch.save({"average": from_bytes(weights.read_bytes())}, run / "last.pt")
    settings = {"backbone": backbone, "sources": sources}
    (run / "result.json").write_text(json.dumps({"settings": settings, "metrics": {}}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, trained):
    """The shipped localiser and a foraminal grader, as if they had been runs."""
    folder, manifest = tmp_path_factory.mktemp("runs"), read_manifest(trained)
    sagittal = manifest.sagittal
    write_run(folder / "sagittal_0", trained / sagittal.files[0].file, backbone=sagittal.architecture)
    member = next(spec for spec in manifest.members if spec.view == "sagittal_t1" and spec.in_chans == 1)
    write_run(folder / "foraminal_0", trained / member.files[0].file, backbone=member.architecture, sources="all")
    return folder


def run_transfer(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["transfer", *map(str, arguments)])
    phantom_to_real.main()


def test_runs_are_measured_on_the_packs_that_exist(runs, tmp_path, monkeypatch, capsys, caplog):
    data = tmp_path / "packs"
    write_packs(data, seeds=range(60, 62))
    run_transfer(monkeypatch, data, runs, "--json", tmp_path / "metrics.json")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["foraminal_marked"]["n"] == 20
    assert metrics["t1_localisation"]["within_6_percent"] > 0.8
    assert {"sudirman_sagittal", "sudirman_sagittal_t1", "tianchi_t2"} < set(metrics)
    assert not {"canal_axial", "spider_t2"} & set(metrics)
    assert "t1_localisation" in capsys.readouterr().out
    assert [record.args for record in caplog.records] == [("foraminal_0",)]  # it saw real images


def test_missing_runs_are_reported(runs, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="real data are needed"):
        run_transfer(monkeypatch, tmp_path / "absent", runs)
    with pytest.raises(SystemExit, match="no finished run"):
        run_transfer(monkeypatch, tmp_path, tmp_path)
    with pytest.raises(SystemExit, match="holds no pack"):
        run_transfer(monkeypatch, tmp_path, runs)


@pytest.mark.real
def test_complete_studies_come_with_all_their_labels():
    found = {study.study_id: (study, truth) for study, truth in complete_studies(SHARED)}
    if not found:
        pytest.skip("the complete studies are absent")
    assert set(found) == {"100206310", "4646740"}
    for study, truth in found.values():
        points = (truth.canal, truth.foramina, truth.recesses)
        assert not any(np.isnan(values).any() for values in points)
        assert (truth.grades >= 0).all()
        planes = [item.plane for item in study.slices(SAGITTAL_T1)]
        for point in truth.foramina.reshape(-1, 3):
            assert min(abs(plane.distance(point)) for plane in planes) < 0.1
