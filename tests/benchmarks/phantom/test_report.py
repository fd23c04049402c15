import json
import sys

from benchmarks.phantom import report


def test_the_command_prints_tables_and_fails_when_a_finding_does(tmp_path, monkeypatch, capsys):
    arguments = ["--truths", "4", "--studies", "0", "--workers", "1", "--json", str(tmp_path / "report.json")]
    monkeypatch.setattr(sys, "argv", ["phantom_report", *arguments])
    assert report.main() == 1  # four phantoms do not have the challenge's shares
    shown = capsys.readouterr().out
    sections = json.loads((tmp_path / "report.json").read_text())
    assert [f"## {item['title']}" in shown for item in sections] == [True] * 4
    right = [item for section in sections for item in section["findings"] if item["passed"]]
    assert f"{len(right)} of " in shown
