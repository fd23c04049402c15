import json

from benchmarks import gpu_check
from benchmarks.gpu_check import check_device, main


def test_all_lines_run_on_the_processor(dataset, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "dataset", lambda *_, **__: dataset)
    monkeypatch.setattr(gpu_check, "SECONDS_EACH", 0.0)
    file = tmp_path / "check.json"
    arguments = ["--device", "cpu", "--weights", str(trained), "--cache", str(tmp_path), "--json", str(file)]
    assert main(arguments) == 0
    rows = json.loads(file.read_text())["cpu"]
    assert all(row["passed"] for row in rows)
    assert rows[-1]["measured"].endswith("grades within 0.0e+00 of the processor's")
    assert "WRONG" not in capsys.readouterr().out


def test_a_device_that_is_not_there_fails(tmp_path):
    (row,) = check_device("cuda:99", tmp_path, studies=1)
    assert not row.passed
