import json
import time

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import Plan, check_device, main
from benchmarks.speed import accelerated


@pytest.fixture
def quick(dataset, monkeypatch):
    monkeypatch.setattr(gpu_check, "dataset", lambda *_, **__: dataset)
    monkeypatch.setattr(accelerated, "SECONDS_EACH", 0.0)


@pytest.mark.slow
def test_all_lines_run_on_the_processor(quick, trained, tmp_path, capsys):
    file = tmp_path / "check.json"
    arguments = ["--device", "cpu", "--weights", str(trained), "--cache", str(tmp_path), "--json", str(file)]
    assert main([*arguments, "--studies", "2", "--many", "2"]) == 0
    rows = {row["check"]: row for row in json.loads(file.read_text())["cpu"]}
    assert all(row["passed"] for row in rows.values())
    assert rows["2 studies"]["figures"]["studies_per_second"] > 0
    assert "stage: localise" in rows["2 studies"]["figures"]
    assert "not measured" in rows["busy share of the device"]["measured"]
    assert "WRONG" not in capsys.readouterr().out


@pytest.mark.slow
def test_what_no_longer_fits_is_left_out_and_named(quick, trained, tmp_path, monkeypatch):
    plan = Plan(tmp_path, (2, 1000), trained, deadline=time.monotonic() + 30)
    monkeypatch.setattr(accelerated, "check_networks", lambda *_: iter(()))
    *_, left_out, compared = check_device("cpu", plan)
    assert compared.measured.endswith("grades within 0.0e+00 of the processor's")
    assert left_out.measured.startswith("left out")


def test_a_device_that_is_not_there_fails(tmp_path):
    (row,) = check_device("cuda:99", Plan(tmp_path, (1, 0), None, deadline=0.0))
    assert not row.passed
