"""Small versions of `benchmarks.robustness.faults`; large counts are run by hand, see docs/robustness.md."""

import sys

import numpy as np
import pytest

from benchmarks.robustness import faults as faults_module
from benchmarks.robustness.faults import budgets, by_study, faults, is_named, is_valid, kills, summary
from lumbar_kernel import Config, predict
from lumbar_kernel.runtime.fault_injection import VARIABLE, with_injected_faults


@pytest.mark.slow
def test_killed_runs_leave_valid_files_and_resume_to_the_same_bytes(dataset, light, tmp_path):
    found = kills(dataset, tmp_path, count=3, longest=4.0, seed=2, options=["--weights", str(light)])
    assert found["kills"] == found["valid"] == 3
    assert found["ended"] == found["ended_identical"] > 0


def test_budgets_are_kept_by_the_whole_process(dataset, light, tmp_path):
    rows = list(budgets(dataset, tmp_path, seconds=(0.0, 12.0, 90.0), options=["--weights", str(light)]))
    assert all(row["valid"] for row in rows)
    assert all(row["left"] >= 0 for row in rows[1:])  # a process that may take no time still has to start
    assert rows[0]["graded"] == 0
    assert rows[-1]["graded"] == 2
    assert rows[-1]["score"] < rows[0]["score"]
    assert "3 budgets, 0 without a valid file" in summary(rows)
    assert "of 0 above" in summary(rows[:1])


@pytest.mark.slow
def test_a_stage_that_kills_its_process_costs_its_study_only(dataset, light, tmp_path):
    row = next(faults(dataset, tmp_path, stages=["localise"], kinds=["kill"], options=["--weights", str(light)]))
    assert row["valid"]
    assert row["named"]
    assert row["others_same"]
    assert row["exit_code"] == 3


def case(**changes):
    return {"valid": True, "named": True, "others_same": True} | changes


def budget(limit, seconds, *, valid=True):
    return {"budget": limit, "seconds": seconds, "left": limit - seconds, "valid": valid, "score": 1.0}


KILLED = {"kills": 3, "valid": 3, "ended": 1, "ended_identical": 1}


@pytest.mark.parametrize(
    ("what", "found", "code"),
    [
        ("kills", KILLED, 0),
        ("kills", {**KILLED, "valid": 2}, 1),
        ("kills", {**KILLED, "ended_identical": 0}, 1),
        ("faults", [case(), case()], 0),
        ("faults", [case(), case(named=False)], 1),
        ("budgets", [budget(0.0, 2.0), budget(1.0, 2.0), budget(9.0, 8.0)], 0),
        ("budgets", [budget(0.0, 2.0), budget(9.0, 9.5)], 1),
        ("budgets", [budget(0.0, 2.0, valid=False), budget(9.0, 8.0)], 1),
    ],
)
def test_the_command_fails_where_a_run_is_not_as_it_must_be(what, found, code, monkeypatch):
    monkeypatch.setattr(faults_module, "write_dataset", lambda *_, **__: None)
    monkeypatch.setattr(faults_module, what, lambda *_, **__: found)
    monkeypatch.setattr(sys, "argv", ["faults", what])
    assert faults_module.main() == code


@pytest.fixture(scope="module")
def undisturbed(light_run):
    """The submission of a run without faults, by study."""
    return by_study(light_run.submission_path)


@pytest.mark.parametrize(
    "injected",
    [
        (("localise", "raise"), ("grade canal_t2", "nan")),
        (("crop", "memory"), ("grade axial_t2", "raise")),
        (("axial", "nan"), ("read", "nan")),
    ],
)
def test_each_study_is_affected_by_its_own_fault_only(dataset, light, tmp_path, monkeypatch, undisturbed, injected):
    names = list(undisturbed)
    monkeypatch.setenv(
        VARIABLE, ";".join(f"{stage}:{kind}:{n}" for n, (stage, kind) in zip(names, injected, strict=True))
    )
    config = Config(data=dataset, output=tmp_path, weights=light, workers=0, progress=False)
    assert predict(config).exit_code == 3
    assert is_valid(config.submission_path, dataset)
    for name, (stage, _) in zip(names, injected, strict=True):
        assert is_named(stage, [name], config.report_path)


def test_a_fault_of_one_study_leaves_the_bytes_of_the_other(dataset, light, tmp_path, monkeypatch, undisturbed):
    first, second = undisturbed
    monkeypatch.setenv(VARIABLE, f"grade axial_t2:nan:{first};crop:raise:{first}")
    config = Config(data=dataset, output=tmp_path, weights=light, workers=0, progress=False)
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
