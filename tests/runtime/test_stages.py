import numpy as np
import pytest
import torch
from torch import nn

from lumbar_kernel.errors import NotFiniteError
from lumbar_kernel.models.checkpoints import LoadedModels
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Shard, Step
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.scheduler import Plan
from lumbar_kernel.runtime.stages import StageRunner
from tests.conftest import FakeClock

STAGE = "grade tiny_axial_t2"


def desk_with(untrained, *, seconds=None, given_up=None, device="cpu", strict=False):
    manifest, budget = read_manifest(untrained), Budget(seconds, reserve=0.0, clock=FakeClock())
    tools = LoadedModels(manifest, torch.device(device), [], [], {})
    share = Shard(0, (), "cpu", given_up=given_up or {})
    said = []
    return StageRunner(share, tools, Recorder(strict=strict), None, budget, Plan(manifest, budget), said.append), said


def out_of_memory(times):
    """Fails so many times with the accelerator's error, then answers."""
    left = iter([True] * times)

    def call():
        if next(left, False):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return np.ones(2)

    return call


def test_a_step_is_announced_timed_and_answered(untrained):
    desk, said = desk_with(untrained)
    assert desk.step("crop", ["7"], lambda: np.ones(2)).sum() == 2
    assert [(m.stage, m.studies) for m in said if isinstance(m, Step)] == [("crop", ("7",))]
    assert set(desk.recorder.stages) == {"crop"}


@pytest.mark.parametrize(
    ("call", "error"), [(lambda: 1 / 0, ZeroDivisionError), (lambda: np.nan * np.ones(3), NotFiniteError)]
)
def test_a_step_that_fails_or_gives_no_numbers_costs_its_study(untrained, call, error):
    desk, _ = desk_with(untrained)
    assert desk.step("crop", ["7"], call) is None
    assert [(f.stage, f.type) for f in desk.recorder.failures("7")] == [("crop", error.__name__)]
    with pytest.raises(error):
        desk_with(untrained, strict=True)[0].step("crop", ["7"], call)


def test_a_net_without_room_moves_to_the_processor_and_goes_on(untrained):
    desk, said = desk_with(untrained)
    net = nn.Linear(1, 1)
    assert desk.step(STAGE, ["7"], out_of_memory(1), nets=[net]) is not None
    assert [message.stage for message in said] == [STAGE, STAGE]
    assert list(desk.recorder.stages) == [STAGE, f"{STAGE} on cpu"]
    assert "goes on on the processor" in desk.recorder.failures(None)[0].message
    assert not desk.dropped


@pytest.mark.parametrize(("seconds", "times"), [(0, 1), (None, 2)])
def test_a_net_is_dropped_when_there_is_no_time_or_no_room_at_all(untrained, seconds, times):
    desk, _ = desk_with(untrained, seconds=seconds)
    assert desk.step(STAGE, ["7"], out_of_memory(times), nets=[nn.Linear(1, 1)]) is None
    assert "no memory" in desk.dropped[STAGE]
    assert "left out" in desk.recorder.failures(None)[-1].message
    assert desk.step(STAGE, ["8"], lambda: pytest.fail("tried again"), nets=[nn.Linear(1, 1)]) is None


def test_what_ended_an_earlier_process_is_not_tried_again(untrained):
    failure = Failure("localise", "ProcessDied", "exit code -9")
    desk, _ = desk_with(untrained, given_up={("7", "localise"): failure, (None, "axial"): failure})
    assert desk.step("localise", ["7"], lambda: pytest.fail("tried again")) is None
    assert desk.recorder.failures("7") == (failure,)
    assert desk.step("localise", ["8"], lambda: np.ones(1)) is not None
    assert desk.step("axial", ["8"], lambda: pytest.fail("tried again")) is None
    assert desk.recorder.failures("8") == (Failure("axial", "Dropped", "exit code -9"),)


def test_an_error_on_an_accelerator_that_has_died_ends_the_process(untrained, monkeypatch):
    desk, said = desk_with(untrained, device="cuda:0")
    monkeypatch.setattr("lumbar_kernel.runtime.stages.device_fault", lambda _: None)
    assert desk.step("crop", ["7"], lambda: 1 / 0) is None
    monkeypatch.setattr("lumbar_kernel.runtime.stages.device_fault", lambda _: "an illegal memory access")
    with pytest.raises(SystemExit, match="cuda:0 has stopped working: an illegal"):
        desk.step("crop", ["8"], lambda: 1 / 0)
    assert "illegal memory access" in said[-1].text
