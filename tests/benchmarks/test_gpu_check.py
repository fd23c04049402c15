import json
import shutil
import time

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import Plan, check_device, main
from benchmarks.speed import accelerated
from benchmarks.speed.observed import ObservedRun


@pytest.fixture
def quick(dataset, monkeypatch):
    monkeypatch.setattr(gpu_check, "dataset", lambda *_, **__: dataset)
    monkeypatch.setattr(accelerated, "SECONDS_EACH", 0.0)


@pytest.mark.slow
def test_all_lines_run_on_the_processor(quick, light, tmp_path, capsys):
    file = tmp_path / "check.json"
    arguments = ["--device", "cpu", "--weights", str(light), "--cache", str(tmp_path), "--json", str(file)]
    assert main([*arguments, "--studies", "2", "--many", "2"]) == 0
    rows = {row["check"]: row for row in json.loads(file.read_text())["cpu"]}
    assert all(row["passed"] for row in rows.values())
    assert rows["2 studies"]["figures"]["studies_per_second"] > 0
    assert rows["2 studies, processor too"]["figures"]["difference"] == 0.0
    assert "stage: localise" in rows["2 studies"]["figures"]
    assert "not measured" in rows["busy share of the device"]["measured"]
    assert "WRONG" not in capsys.readouterr().out


def test_what_no_longer_fits_is_left_out_and_named(quick, light_run, tmp_path, monkeypatch):
    report = json.loads(light_run.report_path.read_text())

    def observed(_, out, *__):
        shutil.copytree(light_run.output, out, dirs_exist_ok=True)
        return ObservedRun(2.0, 0.3, 1.0, 0.0, report)

    monkeypatch.setattr(gpu_check, "observe", observed)
    plan = Plan(tmp_path, (2, 1000), None, deadline=time.monotonic() + 30)
    monkeypatch.setattr(accelerated, "check_networks", lambda *_: iter(()))
    *_, left_out, compared = check_device("cpu", plan)
    assert compared.measured.endswith("grades within 0.0e+00 of the processor's")
    assert left_out.measured.startswith("left out")


def test_a_device_that_is_not_there_fails(tmp_path):
    (row,) = check_device("cuda:99", Plan(tmp_path, (1, 0), None, deadline=0.0))
    assert not row.passed
