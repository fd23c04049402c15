import json

import pytest

from benchmarks import bench
from benchmarks.bench import Bench, breakdown, main
from benchmarks.speed.floor import Floor
from benchmarks.speed.observed import ObservedRun

STAGES = {"import packages": 4.0, "localise": 6.0}
REPORT = {"stages": STAGES, "device": "cpu", "studies": [{}] * 40}


def run(seconds):
    return ObservedRun(seconds, 0.4, 5.0, 900.0, REPORT)


FIGURES = Bench([run(20.0), run(22.0), run(21.0)], [run(9.0)], run(23.0), 105.0, 1e-4, Floor(1.0, 6.0, {}), (40, 10))


def test_figures_are_ratios_of_medians():
    figures = FIGURES.figures()
    assert figures["reference_ratio"] == pytest.approx(105 / 21)
    assert figures["floor_ratio"] == pytest.approx(21 / 7)
    assert figures["seconds_per_study"] == pytest.approx((21 - 9) / 30)
    assert (figures["start_seconds"], figures["peak_mib"]) == (5.0, 900.0)


def test_stages_and_what_is_no_stage_add_up_to_the_time_of_all_workers(monkeypatch):
    monkeypatch.setattr(bench, "usable_cpus", lambda: 2)
    assert sum(breakdown(run(20.0)).values()) == pytest.approx(2 * 20.0)


@pytest.mark.parametrize(("difference", "code"), [(1e-4, 0), (0.1, 1)])
def test_the_command_writes_its_figures_and_fails_where_grades_differ(tmp_path, monkeypatch, capsys, difference, code):
    measured = Bench(FIGURES.runs, FIGURES.part, FIGURES.watched, 105.0, difference, FIGURES.floor, (40, 10))
    monkeypatch.setattr(bench, "measure", lambda *_, **__: measured)
    assert main(["--json", str(tmp_path / "bench.json")]) == code
    entry = json.loads((tmp_path / "bench.json").read_text())
    assert {"reference_ratio", "floor_ratio", "seconds_per_study", "start_seconds", "peak_mib"} <= set(entry)
    assert "reference_ratio" in capsys.readouterr().out


def test_too_few_studies_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 4"):
        bench.measure(tmp_path, studies=3, repeats=1, reference=1)
