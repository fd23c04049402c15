"""Small versions of `benchmarks.robustness.faults`; the large counts are run by hand and stand in the README."""

import numpy as np
import pytest

from benchmarks.robustness.faults import budgets, by_study, faults, is_named, is_valid, kills, summary
from lumbar_kernel import Config, predict
from lumbar_kernel.runtime.fault_injection import VARIABLE, with_injected_faults


@pytest.mark.slow
def test_killed_runs_leave_valid_files_and_resume_to_the_same_bytes(dataset, tmp_path):
    found = kills(dataset, tmp_path, count=3, longest=6.0, seed=2)
    assert found["kills"] == found["valid"] == 3
    assert found["ended"] == found["ended_identical"] > 0


@pytest.mark.slow
def test_budgets_are_kept_by_the_whole_process(dataset, tmp_path):
    rows = list(budgets(dataset, tmp_path, seconds=(0.0, 12.0, 90.0)))
    assert all(row["valid"] for row in rows)
    assert all(row["left"] >= 0 for row in rows[1:])  # a process that may take no time still has to start
    assert rows[0]["graded"] == 0
    assert rows[-1]["graded"] == 2
    assert rows[-1]["score"] < rows[0]["score"]
    assert "3 budgets, 0 without a valid file" in summary(rows)
    assert "of 0 above" in summary(rows[:1])


@pytest.mark.slow
def test_a_stage_that_kills_its_process_costs_its_study_only(dataset, tmp_path):
    row = next(faults(dataset, tmp_path, stages=["localise"], kinds=["kill"]))
    assert row["valid"]
    assert row["named"]
    assert row["others_same"]
    assert row["exit_code"] == 3


@pytest.fixture(scope="module")
def undisturbed(dataset, trained, tmp_path_factory):
    """The submission of a run without faults, by study."""
    config = Config(
        data=dataset, output=tmp_path_factory.mktemp("undisturbed"), weights=trained, workers=0, progress=False
    )
    predict(config)
    return by_study(config.submission_path)


@pytest.mark.parametrize(
    "injected",
    [
        (("localise", "raise"), ("grade canal_t2", "nan")),
        (("crop", "memory"), ("grade axial_t2", "raise")),
        (("axial", "nan"), ("read", "nan")),
    ],
)
def test_each_study_is_affected_by_its_own_fault_only(dataset, trained, tmp_path, monkeypatch, undisturbed, injected):
    names = list(undisturbed)
    monkeypatch.setenv(
        VARIABLE, ";".join(f"{stage}:{kind}:{n}" for n, (stage, kind) in zip(names, injected, strict=True))
    )
    config = Config(data=dataset, output=tmp_path, weights=trained, workers=0, progress=False)
    assert predict(config).exit_code == 3
    assert is_valid(config.submission_path, dataset)
    for name, (stage, _) in zip(names, injected, strict=True):
        assert is_named(stage, [name], config.report_path)


def test_a_fault_of_one_study_leaves_the_bytes_of_the_other(dataset, trained, tmp_path, monkeypatch, undisturbed):
    first, second = undisturbed
    monkeypatch.setenv(VARIABLE, f"grade axial_t2:nan:{first};crop:raise:{first}")
    config = Config(data=dataset, output=tmp_path, weights=trained, workers=0, progress=False)
    predict(config)
    after = by_study(config.submission_path)
    assert after[second] == undisturbed[second]
    assert after[first] != undisturbed[first]


def test_without_the_variable_no_fault_is_injected(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert with_injected_faults("crop", ["1"], lambda: np.ones(2)).sum() == 2


def test_faults_hit_the_stage_and_study_they_name(monkeypatch):
    monkeypatch.setenv(VARIABLE, "grade *:nan:7;crop:raise:*")
    assert np.isnan(with_injected_faults("grade x", ["6", "7"], lambda: np.ones(2))).all()
    assert np.isfinite(with_injected_faults("grade x", ["6"], lambda: np.ones(2))).all()
    with pytest.raises(RuntimeError, match="on purpose"):
        with_injected_faults("crop", [], lambda: np.ones(2))


def test_exhausted_memory_is_a_memory_error_and_the_limit_goes_back(monkeypatch):
    monkeypatch.setenv(VARIABLE, "crop:memory:*")
    with pytest.raises(MemoryError):
        with_injected_faults("crop", ["1"], lambda: None)
    assert np.ones(1 << 24).nbytes == 1 << 27
