import dataclasses
import itertools
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from lumbar_kernel import Config
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.errors import GradingError
from lumbar_kernel.grading.grader import grade
from lumbar_kernel.models.checkpoints import load_models
from lumbar_kernel.models.manifest import WAITING, read_manifest
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime import member_grading, pipeline, sharding, study_loader
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.journal import Journal
from lumbar_kernel.runtime.messages import LOADING, Done, Note, Progress, Ready, Shard, Step, Update
from lumbar_kernel.runtime.pipeline import run
from lumbar_kernel.runtime.reader_process import ReadResult, try_read_study
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.scheduler import first_members
from tests.runtime.conftest import FakeLoader


class Clock:
    """Moves on by a fixed step whenever it is read."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture(scope="module")
def loaded(light):
    """The networks of most runs here, and what could not be loaded: nothing."""
    return load_models(light, "cpu", strict=True)


def messages(dataset, loaded, tmp_path, *, weights=None, seconds=None, step=0.0, **options):
    """What a run says, with networks that were loaded before or, if None, loaded by it."""
    weights = weights or loaded[0].manifest.folder
    config = Config(data=dataset, output=tmp_path, weights=weights, workers=0, progress=False, **options)
    emitted = []
    budget = Budget(seconds, reserve=0.0, clock=Clock(step))
    recorder = Recorder(strict=config.strict)
    shard = Shard(0, tuple(find_studies(dataset)), "cpu")
    done = run(config, shard, recorder=recorder, budget=budget, emit=emitted.append, loaded=loaded)
    return [*[message for message in emitted if not isinstance(message, Step)], done]


@pytest.fixture(scope="module")
def reported(dataset, loaded, tmp_path_factory):
    """What a run says that has all the time it needs."""
    return messages(dataset, loaded, tmp_path_factory.mktemp("reported"))


def test_messages_come_in_order_and_grades_only_gain_members(reported):
    assert isinstance(reported[0], Ready)
    assert isinstance(reported[-1], Done)
    assert reported[-1].complete
    updates = [message for message in reported if isinstance(message, Update)]
    for study in {update.report.study_id for update in updates}:
        members = [set(update.report.members) for update in updates if update.report.study_id == study]
        assert all(before <= after for before, after in itertools.pairwise(members))
        assert len(members[0]) >= 2


def test_every_update_is_a_valid_set_of_grades(reported):
    for message in reported:
        if isinstance(message, Update):
            assert message.grades.shape == (25, 3)
            assert np.allclose(message.grades.sum(axis=1), 1)
            assert message.grades.min() >= 0


def test_without_time_nothing_is_read(dataset, loaded, tmp_path):
    reported = messages(dataset, loaded, tmp_path, seconds=1, step=2)
    assert [type(message) for message in reported] == [Ready, Note, Note, Done]
    assert not reported[-1].complete


def test_more_time_never_gives_less(dataset, loaded, tmp_path):
    runs = [messages(dataset, loaded, tmp_path, seconds=seconds, step=4) for seconds in (12, 28, 400)]
    updates = [sum(isinstance(message, Update) for message in reported) for reported in runs]
    members = [len(reported[-1].members) for reported in runs]
    assert updates == sorted(updates)
    assert members == sorted(members)
    assert [reported[-1].complete for reported in runs][::2] == [False, True]
    assert members[0] < members[-1]


def test_the_first_pass_takes_the_heaviest_member_of_each_condition(untrained):
    members = list(read_manifest(untrained).members)
    names = {spec.name for spec in first_members(members)}
    assert names == {"tiny_axial_t2", "tiny_sagittal_t1"}
    light = [
        dataclasses.replace(m, ensemble_weight=(0.1,) * len(m.ensemble_weight)) if "axial" in m.name else m
        for m in members
    ]
    assert "tiny_sagittal_t2" in {spec.name for spec in first_members(light)}


def test_strict_lets_the_first_exception_through(dataset, loaded, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("lumbar_kernel.runtime.stages.cut_crops", broken)
    with pytest.raises(ZeroDivisionError):
        messages(dataset, loaded, tmp_path, strict=True)
    reported = messages(dataset, loaded, tmp_path)
    failures = [f for m in reported if isinstance(m, Update) for f in m.report.failures]
    assert {(f.stage, f.type) for f in failures} == {("crop", "ZeroDivisionError")}


@pytest.fixture(scope="module")
def whole_journal(dataset, loaded, tmp_path_factory):
    """The journal of a complete run with one study a block, and the grades of that run."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "STUDIES_AT_ONCE", 1)
        reported = messages(dataset, loaded, folder)
    return (folder / "journal.jsonl").read_bytes(), last_grades(reported)


def last_grades(reported):
    """Study → its last grades and what the report says of it."""
    return {m.report.study_id: (m.grades.tobytes(), m.report) for m in reported if isinstance(m, Update)}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.45, 0.5, 0.55, 0.7, 0.85, 0.97, 1.0])
def test_a_run_cut_off_anywhere_resumes_to_the_same_grades(
    dataset, loaded, tmp_path, monkeypatch, whole_journal, share
):
    raw, expected = whole_journal
    (tmp_path / "journal.jsonl").write_bytes(raw[: round(share * len(raw))])
    monkeypatch.setattr(sharding, "STUDIES_AT_ONCE", 1)
    graded = []
    monkeypatch.setattr(
        member_grading, "grade", lambda crops, *args, **kw: graded.append(1) or grade(crops, *args, **kw)
    )
    reported = messages(dataset, loaded, tmp_path, resume=True)
    assert last_grades(reported) == expected
    # What the journal holds is not done again.
    kept = [line for line in raw[: round(share * len(raw))].splitlines(keepends=True) if line.endswith(b"\n")]
    assert len(graded) == raw.count(b'"graded"') - sum(b'"graded"' in line for line in kept)
    assert reported[-1].complete
    assert (tmp_path / "journal.jsonl").exists()


@pytest.mark.parametrize("ample", [True, False])
def test_a_study_that_was_begun_is_finished_before_the_next_one_when_time_allows(
    dataset, loaded, tmp_path, monkeypatch, whole_journal, ample
):
    begun = [line for line in whole_journal[0].splitlines(keepends=True) if b'"graded"' not in line]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(begun))
    monkeypatch.setattr(sharding, "STUDIES_AT_ONCE", 1)
    if not ample:
        monkeypatch.setattr(pipeline.Scheduler, "members_fit", lambda *_, **__: False)
        monkeypatch.setattr(pipeline.Scheduler, "choose", lambda _, options, **__: options.full)
    updates = [m for m in messages(dataset, loaded, tmp_path, resume=True) if isinstance(m, Update)]
    second = next(i for i, m in enumerate(updates) if m.report.study_id != updates[0].report.study_id)
    expected = whole_journal[1][updates[0].report.study_id]
    assert ((updates[second - 1].grades.tobytes(), updates[second - 1].report) == expected) == ample


def test_a_study_that_could_not_be_read_is_read_again_by_a_run_that_resumes(
    dataset, loaded, tmp_path, monkeypatch, whole_journal
):
    monkeypatch.setattr(sharding, "STUDIES_AT_ONCE", 1)
    lost = find_studies(dataset)[0].study_id
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            study_loader,
            "try_read_study",
            lambda files: (
                ReadResult(files, None, "the share is gone", 0.0) if files.study_id == lost else try_read_study(files)
            ),
        )
        reported = last_grades(messages(dataset, loaded, tmp_path))
    assert reported[lost][1].graded_rows == 0
    assert last_grades(messages(dataset, loaded, tmp_path, resume=True)) == whole_journal[1]


def test_other_weights_begin_anew(dataset, light, tmp_path, whole_journal):
    text = whole_journal[0]
    (tmp_path / "journal.jsonl").write_bytes(text)
    changed = shutil.copytree(light, tmp_path / "weights")
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["members"].pop("canal_t2")
    (changed / "manifest.json").write_text(json.dumps(manifest))
    reported = messages(dataset, None, tmp_path, weights=changed, resume=True)
    assert all("canal_t2" not in report.members for _, report in last_grades(reported).values())


def test_a_member_that_gives_no_numbers_costs_its_grades_and_is_named(dataset, loaded, tmp_path, monkeypatch):
    def spoiled(crops, nets, *, view, **options):
        if not view.sided:
            raise GradingError("15 of 15 probabilities are not finite")
        return grade(crops, nets, view=view, **options)

    monkeypatch.setattr(member_grading, "grade", spoiled)
    for _, report in last_grades(messages(dataset, loaded, tmp_path)).values():
        assert "canal_t2" not in report.members
        assert {failure.stage for failure in report.failures} == {"grade canal_t2"}
        assert {failure.type for failure in report.failures} == {"GradingError"}


def test_too_little_time_for_a_full_first_pass_looks_at_fewer_slices_of_all_studies_first(
    dataset, loaded, tmp_path, monkeypatch, whole_journal
):
    recorded = []
    add_study = Journal.add_study
    monkeypatch.setattr(Journal, "add_study", lambda *args: recorded.append(args[1].study_id) or add_study(*args))
    monkeypatch.setattr(sharding, "STUDIES_AT_ONCE", 1)
    monkeypatch.setattr(pipeline.Scheduler, "choose", lambda _, options, **__: options.reduced)
    reported = messages(dataset, loaded, tmp_path)
    (note,) = [message.text for message in reported if isinstance(message, Note)]
    assert "one of every 2 sagittal slices" in note
    reduced = [message.report for message in reported if isinstance(message, Update)][:2]
    assert all("one of every 2" in report.missing[0] and report.graded_rows == 25 for report in reduced)
    # Time was left after all: the reduced studies were graded again in full, and only that counts as finished work.
    assert recorded == [report.study_id for report in reduced]
    assert last_grades(reported) == whole_journal[1]
    assert reported[-1].complete


def test_the_first_study_has_grades_before_the_second_is_prepared_and_no_crops_are_kept(passes):
    assert passes.run().complete
    kinds = [item if isinstance(item, str) else type(item).__name__ for item in passes.log]
    kinds = [kind for kind in kinds if kind != "Step"]
    assert kinds[:6] == ["Progress", "prepare", "grade", "grade", "Update", "prepare"]
    assert all(len(batch) == 2 for batch in passes.batches)  # also that of the first study alone
    progress = [(item.phase, item.done, item.studies) for item in passes.messages(Progress)]
    assert progress == [("first pass", 0, 4), ("first pass", 2, 4)]
    assert [state.crops for state in passes.states] == [{}] * 4


def test_the_first_study_is_graded_by_the_fastest_members_before_the_others(passes, monkeypatch):
    monkeypatch.setattr(pipeline, "fastest_members", lambda chosen, members: members[-1:])
    passes.run()
    first, *_ = passes.messages(Update)
    assert list(first.report.members) == [passes.models.manifest.members[-1].name]


def test_only_studies_that_were_asked_for_are_drawn(passes):
    passes.run(drawn=frozenset("1"))
    assert [pictures for _, _, pictures in passes.prepared] == [None, passes.config.pictures_path, None, None]


def test_nothing_is_learned_from_the_wait_for_the_first_study(passes, monkeypatch):
    learned = []
    monkeypatch.setattr(pipeline.Scheduler, "learn", lambda _, stage, __, *, studies: learned.append((stage, studies)))
    passes.run()
    assert [studies for stage, studies in learned if stage == WAITING] == [0, 1, 1, 1]


def test_a_block_that_was_not_finished_is_graded_again_as_a_whole_and_by_a_loader_of_its_own(passes):
    passes.failures = (Failure("pictures", "OSError", "odd"),)
    passes.views = {"2": ("sagittal_t1",)}
    passes.run()
    path = passes.config.journal_of(0)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"graded":"1"' not in line))
    passes.log.clear()
    passes.prepared.clear()
    begun = FakeLoader(passes.studies)
    assert passes.run(resume=True, loader=begun).complete
    updates = passes.messages(Update)
    assert [study_id for study_id, *_ in passes.prepared] == ["0", "1"]
    assert [item.report.study_id for item in updates[:2]] == ["2", "3"]
    assert all(item.report.failures == passes.failures for item in updates)
    assert begun.left  # it would have read all of them


def test_reduced_studies_are_graded_again_in_full_and_only_that_is_recorded(passes):
    passes.choose("reduced")
    assert passes.run(loader=FakeLoader(passes.studies)).complete
    assert [stride for _, stride, _ in passes.prepared] == [2] * 4 + [1] * 4
    assert len(passes.messages(Note)) == 1
    assert passes.config.journal_of(0).read_bytes().count(b'"graded"') == 4 * 3


@pytest.mark.parametrize(
    ("kind", "graded", "members"),
    [("full", 4, 2), ("full", 6, 3), ("full", 2, 0), ("reduced", 6, 3), ("everything", 5, 0)],
)
def test_what_was_not_reached_in_time_is_not_claimed_and_can_be_resumed(passes, kind, graded, members):
    def is_up(_):
        if len(passes.batches) == graded:
            passes.clock.now += 1000

    passes.choose(kind)
    passes.fault = is_up
    done = passes.run(seconds=1000)
    assert len(passes.batches) == graded
    assert len(done.members) == members
    assert done.complete == (kind == "full" and members == 3)
    assert passes.config.interrupted


def test_a_shard_that_is_complete_keeps_its_journal_for_a_run_that_is_not(passes):
    assert passes.run().complete
    passes.log.clear()
    passes.prepared.clear()
    assert passes.run(resume=True).complete
    assert (passes.prepared, len(passes.messages(Update))) == ([], 4)


def test_loading_is_announced_before_it_begins_and_members_that_failed_after_it(passes):
    models = SimpleNamespace(
        **vars(passes.models), device="cuda:7", on=lambda device: models if device == "cpu" else None
    )
    budget, shard = Budget(None, reserve=0.0), Shard(0, passes.studies, "cpu")
    loaded = models, {"axial": "damaged"}
    run(passes.config, shard, recorder=passes.recorder, budget=budget, emit=passes.log.append, loaded=loaded)
    step, ready, *_ = passes.log
    assert (step.stage, step.studies) == (LOADING, ())
    assert (ready.device, ready.members_failed) == ("cuda:7", {"axial": "damaged"})
