import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from lumbar_kernel.__main__ import main
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK, EXIT_USAGE


def test_predict_then_score_by_the_command_line(dataset, untrained, tmp_path, capsys):
    code = main(["predict", str(dataset), "--out", str(tmp_path), "--weights", str(untrained), "--workers", "0"])
    assert code in (EXIT_OK, EXIT_DEGRADED)
    assert str(tmp_path / "submission.csv") in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == code
    truth = str(dataset / "truth.csv")
    assert main(["score", str(tmp_path / "submission.csv"), truth, "--draws", "20"]) == EXIT_OK
    shown = capsys.readouterr().out
    assert "(studies: 2)" in shown
    line = next(line.split() for line in shown.splitlines() if line.startswith("mean"))
    value, low, high = (float(word) for word in line if word[0].isdigit() and "." in word)
    assert 0 < low <= value <= high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--study-seconds", "0"], "study_seconds must be"),
        (["--out", "/proc/impossible"], "cannot be written"),
        (["--device", "cuda:99"], "does not work"),
    ],
)
def test_an_impossible_wish_is_refused_before_grading(dataset, untrained, tmp_path, capsys, options, message):
    base = ["predict", str(dataset), "--out", str(tmp_path), "--weights", str(untrained), "--quiet"]
    assert main([*base, *options]) == EXIT_USAGE
    assert message in capsys.readouterr().err


def test_quiet_prints_nothing(dataset, untrained, tmp_path, capsys):
    options = ["--out", str(tmp_path), "--weights", str(untrained), "--seconds", "0.001", "--quiet"]
    assert main(["predict", str(dataset), *options]) == EXIT_DEGRADED
    assert capsys.readouterr() == ("", "")


def test_every_option_reaches_the_run_and_its_exit_code_the_caller(tmp_path, monkeypatch, capsys):
    taken = []

    def predict(config, *, started):
        taken.append((config, started))
        return SimpleNamespace(exit_code=3, summary=lambda: "the summary")

    monkeypatch.setattr("lumbar_kernel.runtime.supervisor.predict", predict)
    monkeypatch.setattr("lumbar_kernel.commands.predict.process_started", lambda: 7.0)
    numbers = {"seconds": 60.0, "study_seconds": 9.0, "workers": 2, "pictures": 5}
    texts = {"split": "train", "device": "cpu", "roles": "roles.csv"}
    switches = {"html": True, "resume": True, "strict": True}
    words = [f"--{key.replace('_', '-')}={value}" for key, value in (numbers | texts).items()]
    words += [*(f"--{key}" for key in switches), "--series", "1=t1", "--series", "2=t2", "--out", str(tmp_path)]
    assert main(["predict", str(tmp_path), *words]) == 3
    ((config, started),) = taken
    expected = numbers | texts | switches
    expected |= {"data": tmp_path, "output": tmp_path, "roles": Path("roles.csv"), "series": ("1=t1", "2=t2")}
    assert {key: getattr(config, key) for key in expected} == expected
    assert (started, config.progress) == (7.0, True)
    assert capsys.readouterr().out.splitlines() == ["the summary", str(config.submission_path)]  # and no page
