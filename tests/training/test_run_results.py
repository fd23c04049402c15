from pathlib import Path

import pytest

from training import run_results


def test_a_run_is_finished_once_its_result_is_written(tmp_path):
    assert not run_results.is_finished(tmp_path)
    with pytest.raises(FileNotFoundError):
        run_results.settings_of(tmp_path)
    run_results.write(tmp_path, {"fold": 2, "cache": Path("cache"), "start": None}, {"loss": 0.5})
    assert run_results.is_finished(tmp_path)
    run_results.withdraw(tmp_path)
    run_results.withdraw(tmp_path)
    assert not run_results.is_finished(tmp_path)
    run_results.write(tmp_path, {"fold": 2, "cache": Path("cache"), "start": None}, {"loss": 0.5})
    assert run_results.settings_of(tmp_path) == {"fold": "2", "cache": "cache", "start": "None"}
