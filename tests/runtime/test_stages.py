from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lumbar_kernel.errors import LocalisationError, NotFiniteError
from lumbar_kernel.localisation.series_shift import Alignment
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime import stages
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Shard, Step
from lumbar_kernel.runtime.reader_process import ReadResult
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.scheduler import Scheduler
from lumbar_kernel.runtime.stages import StageRunner, every_nth_slice, prepare
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study, StudyFiles
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


@pytest.mark.parametrize(("studies", "effort", "units"), [((), 1.0, 1), (("7",) * 4, 1.0, 4), (("7",) * 4, 0.5, 2)])
def test_what_a_stage_takes_is_learned_per_study_and_whole_work(untrained, studies, effort, units):
    runner, _ = runner_with(untrained)
    spec = next(spec for spec in read_manifest(untrained).members if spec.stage == STAGE)
    runner.run(STAGE, studies, lambda: setattr(runner.budget._clock, "now", 1008.0), effort=effort)
    assert runner.scheduler.member_seconds(spec) == pytest.approx((spec.seconds_per_study + 8) / (1 + units))


def test_a_stage_that_failed_for_lack_of_memory_is_checked_on_the_processor_too(untrained):
    runner, _ = runner_with(untrained)
    assert runner.run(STAGE, ["7"], out_of_memory(1), nets=[nn.Linear(1, 1)], check=lambda _: 1 / 0) is None
    assert [failure.type for failure in runner.recorder.failures("7")] == ["ZeroDivisionError"]


@pytest.fixture
def prepared(untrained, phantom, landmarks, views, monkeypatch, tmp_path):
    """Prepares the phantom with stages that return the truth at once, but for those that are replaced."""
    nets = (nn.Linear(1, 1),)
    models = SimpleNamespace(sagittal=nets, axial=nets, manifest=SimpleNamespace(views=()))
    drawn = []

    def prepare_with(*, study=phantom.study, strict=False, stride=1, **replaced):
        runner, _ = runner_with(untrained, strict=strict)
        fakes = {
            "align_series": lambda study: Alignment(study, doubtful=False),
            "localise": lambda *_: landmarks,
            "axial_levels": lambda study, *_: (study, views),
            "cut_crops": lambda *_, **__: {"axial_t2": ()},
            "draw_study": lambda *_, **__: drawn.append(1),
        }
        for name, fake in (fakes | replaced).items():
            monkeypatch.setattr(stages, name, fake)
        result = ReadResult(StudyFiles("11", ()), study, None, 0.0)
        return prepare(result, runner, models, stride=stride, pictures=tmp_path), runner.recorder, drawn

    return prepare_with


def _broken(*_, **__):
    raise ValueError("odd")


STAGES = {
    "align_series": "align",
    "localise": "localise",
    "with_reformatted_axials": "reformat",
    "axial_levels": "axial",
    "cut_crops": "crop",
    "draw_study": "pictures",
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_fails_costs_a_study_no_other_stage(prepared, phantom, name):
    study = replace(phantom.study, volume=phantom.study.series[0])
    whole, *_ = prepared(study=study, with_reformatted_axials=lambda study, _: study)
    state, *_ = prepared(study=study, **{"with_reformatted_axials": lambda study, _: study, name: _broken})
    assert whole.report.failures == ()
    assert [(item.stage, item.type) for item in state.report.failures] == [(STAGES[name], "ValueError")]
    assert state.crops == ({} if name in ("localise", "cut_crops") else whole.crops)
    assert (state.report.landmarks is None) == (name == "localise")


def test_a_study_without_visible_levels_is_a_finding_and_ends_no_strict_run(prepared):
    def none(*_):
        raise LocalisationError("no five levels")

    state, recorder, drawn = prepared(strict=True, localise=none)
    assert [(item.stage, item.message) for item in state.report.failures] == [("localise", "no five levels")]
    assert (recorder.fatal, drawn, state.row_weights.max()) == (None, [], 0)


def test_a_series_without_a_place_after_alignment_leaves_all_as_they_were(prepared, phantom):
    nowhere = replace(phantom.study.series[0].slices[0].plane, origin=np.full(3, np.nan))
    lost = replace(phantom.study.series[0], slices=(replace(phantom.study.series[0].slices[0], plane=nowhere),))
    moved = Alignment(replace(phantom.study, series=(lost,)), doubtful=False)
    state, *_ = prepared(align_series=lambda _: moved)
    assert [item.type for item in state.report.failures] == ["NotFiniteError"]
    assert len(state.report.series) == len(phantom.study.series)


def test_doubtful_series_lower_the_confidence_of_a_study(prepared):
    sure, *_ = prepared()
    unsure, *_ = prepared(align_series=lambda study: Alignment(study, doubtful=True))
    assert unsure.report.confidence < sure.report.confidence


def test_a_reduced_study_is_not_drawn_says_so_and_counts_as_half_the_work(prepared, monkeypatch):
    assert prepared()[2] == [1]
    learned = {}
    monkeypatch.setattr(Scheduler, "learn", lambda _, stage, __, *, studies: learned.update({stage: studies}))
    state, _, drawn = prepared(stride=2)
    assert (state.reduced, drawn) == (True, [1])
    assert (learned["localise"], learned["crop"]) == (0.5, 1.0)
    assert "one of every 2 sagittal slices" in state.report.missing[-1]


@pytest.mark.parametrize("name", ["localise", "axial_levels"])
def test_localisers_without_memory_move_to_the_processor_too(prepared, phantom, landmarks, views, name):
    results = {"localise": landmarks, "axial_levels": (phantom.study, views)}
    scarce = out_of_memory(1)
    state, recorder, _ = prepared(**{name: lambda *_: scarce() is not None and results[name]})
    assert state.report.failures == ()
    assert "continues on the processor" in recorder.failures(None)[0].message


def test_a_study_without_usable_series_is_named(prepared):
    state, *_ = prepared(study=Study("11", ()))
    assert [(item.stage, item.type) for item in state.report.failures] == [("read", "StudyError")]


@pytest.mark.parametrize(("error", "message"), [("share is gone", "share is gone"), (None, "gave no reason")])
def test_a_study_that_was_not_read_names_the_reason(untrained, error, message):
    runner, _ = runner_with(untrained)
    state = prepare(ReadResult(StudyFiles("7", ()), None, error, 0.0), runner, None)
    assert [(item.stage, item.type) for item in state.report.failures] == [("read", "DicomError")]
    assert message in state.report.failures[0].message
