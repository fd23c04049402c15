import sys

import pytest

from benchmarks.robustness import fuzz as fuzz_module
from benchmarks.robustness.fuzz import Outcome, Row, check_file, fuzz
from benchmarks.robustness.mutations import KINDS


@pytest.mark.slow
def test_broken_files_hurt_neither_the_reader_nor_their_study(tmp_path):
    table, faults = fuzz(tmp_path, count=40)
    assert faults == []
    assert all(table[kind].outcomes for kind in KINDS)
    assert sum(item.result == "read" for kind in KINDS for item in table[kind].outcomes) > 2
    assert len(table["study"].outcomes) == 2


def test_kinds_without_a_file_are_left_out_of_the_table(monkeypatch, capsys):
    found = {"cut": Row([Outcome("read", "", 0.1, 1 << 20)]), "swapped": Row()}, []
    monkeypatch.setattr(fuzz_module, "fuzz", lambda *_, **__: found)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--count", "1"])
    with pytest.raises(SystemExit) as ended:
        fuzz_module.main()
    assert ended.value.code == 0
    assert "cut" in (shown := capsys.readouterr().out)
    assert "swapped" not in shown


def test_a_reader_that_lets_a_fault_through_is_seen(tmp_path, monkeypatch):
    def wrong(path: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("benchmarks.robustness.fuzz.identify", wrong)
    with pytest.raises(ZeroDivisionError):
        check_file(tmp_path / "1.dcm")
