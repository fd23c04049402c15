import numpy as np
import pytest
import torch
from torch import nn

from lumbar_kernel.errors import NotFiniteError
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Shard, Step
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.scheduler import Scheduler
from lumbar_kernel.runtime.stages import StageRunner, every_nth_slice
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.conftest import FakeClock

STAGE = "grade tiny_axial_t2"


def runner_with(untrained, *, seconds=None, given_up=None, device="cpu", strict=False):
    """A stage runner with a clock that stands still, and the list of messages that it emits."""
    manifest, budget = read_manifest(untrained), Budget(seconds, reserve=0.0, clock=FakeClock())
    shard = Shard(0, (), device, given_up=given_up or {})
    emitted = []
    recorder, scheduler = Recorder(strict=strict), Scheduler(manifest, budget)
    return StageRunner(shard, recorder, budget, scheduler, emitted.append), emitted


def out_of_memory(times):
    """A call that fails so many times with the accelerator's error, then succeeds."""
    left = iter([True] * times)

    def call():
        if next(left, False):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return np.ones(2)

    return call


def test_a_stage_is_announced_and_timed_and_its_result_returned(untrained):
    runner, emitted = runner_with(untrained)
    assert runner.run("crop", ["7"], lambda: np.ones(2)).sum() == 2
    assert [(m.stage, m.studies) for m in emitted if isinstance(m, Step)] == [("crop", ("7",))]
    assert set(runner.recorder.stages) == {"crop"}


@pytest.mark.parametrize(
    ("call", "error"), [(lambda: 1 / 0, ZeroDivisionError), (lambda: np.nan * np.ones(3), NotFiniteError)]
)
def test_a_stage_that_fails_or_returns_nan_is_recorded_for_its_study(untrained, call, error):
    runner, _ = runner_with(untrained)
    assert runner.run("crop", ["7"], call) is None
    assert [(f.stage, f.type) for f in runner.recorder.failures("7")] == [("crop", error.__name__)]
    with pytest.raises(error):
        runner_with(untrained, strict=True)[0].run("crop", ["7"], call)


def test_a_net_without_memory_moves_to_the_processor_and_continues(untrained):
    runner, emitted = runner_with(untrained)
    net = nn.Linear(1, 1)
    assert runner.run(STAGE, ["7"], out_of_memory(1), nets=[net]) is not None
    assert [message.stage for message in emitted] == [STAGE, STAGE]
    assert list(runner.recorder.stages) == [STAGE, f"{STAGE} on cpu"]
    assert "continues on the processor" in runner.recorder.failures(None)[0].message
    assert not runner.dropped


@pytest.mark.parametrize(("seconds", "times"), [(0, 1), (None, 2)])
def test_a_net_is_dropped_without_time_or_without_any_memory(untrained, seconds, times):
    runner, _ = runner_with(untrained, seconds=seconds)
    assert runner.run(STAGE, ["7"], out_of_memory(times), nets=[nn.Linear(1, 1)]) is None
    assert "no memory" in runner.dropped[STAGE]
    assert "skipped" in runner.recorder.failures(None)[-1].message
    assert runner.run(STAGE, ["8"], lambda: pytest.fail("tried again"), nets=[nn.Linear(1, 1)]) is None


def test_a_stage_that_ended_an_earlier_worker_is_not_tried_again(untrained):
    failure = Failure("localise", "ProcessDied", "exit code -9")
    runner, _ = runner_with(untrained, given_up={("7", "localise"): failure, (None, "axial"): failure})
    assert runner.run("localise", ["7"], lambda: pytest.fail("tried again")) is None
    assert runner.recorder.failures("7") == (failure,)
    assert runner.run("localise", ["8"], lambda: np.ones(1)) is not None
    assert runner.run("axial", ["8"], lambda: pytest.fail("tried again")) is None
    assert runner.recorder.failures("8") == (Failure("axial", "Dropped", "exit code -9"),)


def test_an_error_on_a_broken_accelerator_ends_the_process(untrained, monkeypatch):
    runner, emitted = runner_with(untrained, device="cuda:0")
    monkeypatch.setattr("lumbar_kernel.runtime.stages.device_fault", lambda _: None)
    assert runner.run("crop", ["7"], lambda: 1 / 0) is None
    monkeypatch.setattr("lumbar_kernel.runtime.stages.device_fault", lambda _: "an illegal memory access")
    with pytest.raises(SystemExit, match="cuda:0 has stopped working: an illegal"):
        runner.run("crop", ["8"], lambda: 1 / 0)
    assert "illegal memory access" in emitted[-1].text


def test_a_reduced_study_keeps_every_second_sagittal_slice_with_the_middle_and_all_axial_ones(phantom):
    reduced = every_nth_slice(phantom.study, 2)
    assert len(reduced.slices(AXIAL_T2)) == len(phantom.study.slices(AXIAL_T2))
    for role in (SAGITTAL_T1, SAGITTAL_T2):
        whole, kept = phantom.study.slices(role), reduced.slices(role)
        assert abs(len(kept) - len(whole) / 2) <= 1
        assert any(item is whole[len(whole) // 2] for item in kept)
        steps = np.diff([item.plane.centre[0] for item in kept])
        assert steps.min() > 1.5 * np.diff([item.plane.centre[0] for item in whole]).max() / 1.1


def test_stride_one_keeps_everything(phantom):
    whole = [item for series in phantom.study.series for item in series.slices]
    same = [item for series in every_nth_slice(phantom.study, 1).series for item in series.slices]
    assert all(a is b for a, b in zip(whole, same, strict=True))
