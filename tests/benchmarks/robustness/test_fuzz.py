from pathlib import Path

import pytest

from benchmarks.robustness.fuzz import check_file, fuzz
from benchmarks.robustness.mutations import KINDS


@pytest.mark.slow
def test_broken_files_hurt_neither_the_reader_nor_their_study(tmp_path):
    table, faults = fuzz(tmp_path, count=40)
    assert faults == []
    assert all(table[kind].outcomes for kind in KINDS)
    assert sum(item.result == "read" for kind in KINDS for item in table[kind].outcomes) > 2
    assert len(table["study"].outcomes) == 2


def test_a_reader_that_lets_a_fault_through_is_seen(tmp_path, monkeypatch):
    def wrong(path: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("benchmarks.robustness.fuzz.read_identity", wrong)
    with pytest.raises(ZeroDivisionError):
        check_file(tmp_path / "1.dcm")
