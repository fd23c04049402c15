from dataclasses import replace

import pytest

from benchmarks.detect_then_classify.runs import GROUPS, Machine, Run, runs_of, train_all
from lumbar_kernel.schema import CANAL, FORAMINAL, SUBARTICULAR


def test_each_fold_has_a_detector_and_classifiers_of_each_condition_and_detectors_come_first():
    runs = list(runs_of({"sagittal_t1": (0, 1), "axial_t2_crops": (0, 1, 2, 3)}, {}))
    detectors = [run for run in runs if run.kind == "detector"]
    assert runs[: len(detectors)] == detectors
    assert len(detectors) == 6
    assert len({run.name for run in runs}) == len(runs) == 6 + 2 * (2 + 2 * 4)
    assert {group for groups in GROUPS.values() for group in groups} == {CANAL, FORAMINAL, SUBARTICULAR}
    few = runs_of({"sagittal_t1": (0,)}, {"detector": 2, "score_net": 5}, kinds=["score_net"])
    assert {run.kind: run.epochs for run in few} == {"detector": 2, "score_net": 5}


def test_a_run_is_done_until_its_settings_change(tmp_path):
    run = Run("sagittal_t1", 0, "score_net", FORAMINAL, 5)
    assert not run.is_done(tmp_path)
    (tmp_path / run.name).mkdir()
    (tmp_path / run.name / "done.json").write_text(run.as_text())
    assert run.is_done(tmp_path)
    assert not replace(run, epochs=6).is_done(tmp_path)


def test_an_interrupted_run_is_continued_unless_its_settings_changed(tmp_path):
    run = Run("sagittal_t1", 0, "detector", "", 5)
    for other, kept in ((run, True), (replace(run, epochs=6), False)):
        left = run.open_folder(tmp_path) / "last.pt"
        left.touch()
        assert other.open_folder(tmp_path) == left.parent
        assert left.exists() == kept


def test_finished_runs_are_not_trained_again_and_a_failure_is_raised(tmp_path):
    run = Run("sagittal_t1", 0, "score_net", FORAMINAL, 5)
    machine = Machine(tmp_path, tmp_path / "no data", "cpu", 1)
    (tmp_path / run.name).mkdir()
    (tmp_path / run.name / "done.json").write_text(run.as_text())
    train_all([run], machine)
    with pytest.raises(FileNotFoundError):
        train_all([replace(run, epochs=6)], machine)
