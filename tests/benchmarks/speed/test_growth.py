import json

import cv2
import pytest

from benchmarks.speed import growth
from benchmarks.speed.growth import Point, main, seconds_per_study
from benchmarks.speed.observed import ObservedRun

POINTS = [Point(10, 9.0, 900.0, 800.0), Point(40, 18.0, 950.0, 800.0), Point(100, 36.0, 960.0, 810.0)]


def test_a_further_study_is_what_a_larger_run_took_longer():
    assert seconds_per_study(POINTS) == pytest.approx([0.3, 0.3])


def test_runs_are_measured_written_and_drawn(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(growth, "dataset", lambda _, *, studies: asked.append(studies) or studies)
    monkeypatch.setattr(growth, "observe", lambda data, _, memory: ObservedRun(2.0 * data, 0.3, 3.0, 700.0, {}, 600.0))
    file, picture = tmp_path / "growth.json", tmp_path / "images" / "growth.png"
    assert main(["--studies", "8", "4", "--json", str(file), "--png", str(picture)]) == 0
    assert asked == [4, 8]
    assert json.loads(file.read_text())[1] == {
        "studies": 8,
        "seconds": 16.0,
        "peak_mib": 700.0,
        "usual_mib": 600.0,
    }
    assert "2.000 s for a further one" in capsys.readouterr().out
    height, width, _ = cv2.imread(str(picture)).shape
    assert width > 2 * height


def test_points_that_were_measured_before_are_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "measure", lambda *_: 1 / 0)
    file, picture = tmp_path / "growth.json", tmp_path / "growth.png"
    file.write_text(json.dumps([vars(point) for point in POINTS]))
    assert main(["--from-json", str(file), "--png", str(picture)]) == 0
    assert picture.stat().st_size > 5000
