import csv
import dataclasses
import json
import multiprocessing
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest

from lumbar_kernel import Config, predict
from lumbar_kernel.dicom.discovery import Scan
from lumbar_kernel.errors import ConfigError, KernelError
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.results.pictures import CHART, add_grades, picture_path
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK, Failure, Report
from lumbar_kernel.results.submission import submission_text
from lumbar_kernel.runtime import study_search, supervisor
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.devices import PROBE_SECONDS, Devices
from lumbar_kernel.runtime.first_grades import EARLIER
from lumbar_kernel.runtime.folder_lock import lock, opened
from lumbar_kernel.runtime.fork_server import CAN_FORK
from lumbar_kernel.runtime.messages import LOADING, Done, Ready
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.run_state import RunState
from lumbar_kernel.runtime.supervision import STARTING
from lumbar_kernel.schema import ROWS, prior
from tests.conftest import ROOT, FakeClock, refused_by_schema
from tests.runtime.conftest import grades_of


@pytest.fixture(scope="module")
def run(dataset, light, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    config = Config(data=dataset, output=out, weights=light, progress=False, pictures=1, strict=True)
    return config, predict(config)


def test_every_row_of_every_study_is_graded(run, dataset):
    config, report = run
    with (dataset / "sample_submission.csv").open(newline="") as file:
        sample = [row["row_id"] for row in csv.DictReader(file)]
    grades = grades_of(config.submission_path)
    assert list(grades) == sample
    assert np.allclose([sum(row) for row in grades.values()], 1, atol=1e-6)
    assert [study.graded_rows for study in report.studies] == [len(ROWS)] * 2
    assert report.exit_code == EXIT_OK
    assert set(report.members) == {spec.name for spec in read_manifest(config.weights).members}


def test_the_report_beside_the_submission_is_the_one_returned(run):
    config, report = run
    assert config.report_path.read_text(encoding="utf-8") == report.to_json()
    assert {"load weights", "localise", "crop"} <= set(report.stages)
    assert [len(study.series) for study in report.studies] == [3, 3]
    assert report.studies[0].landmarks is not None


def test_pictures_are_drawn_for_as_many_studies_as_asked(run):
    config, _ = run
    assert len(list((config.output / "pictures").glob("*.jpg"))) == 1


def test_the_pictures_hold_the_final_grades(run, tmp_path):
    config, report = run
    path = picture_path(config.pictures_path, report.studies[0].study_id)
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    grades = np.array([*grades_of(config.submission_path).values()])[: len(ROWS)]
    add_grades(copy, grades, np.ones(len(ROWS), bool))
    drawn, again = (cv2.imread(str(item))[CHART].astype(int) for item in (path, copy))
    assert np.abs(drawn - again).max() < 60  # coded once more
    add_grades(copy, 1 - grades / 2, np.ones(len(ROWS), bool))
    assert np.abs(drawn - cv2.imread(str(copy))[CHART]).max() > 100


def test_a_page_that_cannot_be_written_is_reported(dataset, untrained, tmp_path):
    (tmp_path / "report.html").mkdir()
    report = predict(Config(data=dataset, output=tmp_path, weights=untrained, html=True, pictures=0, progress=False))
    assert "write report.html" in [failure.stage for failure in report.failures]
    assert report.exit_code == EXIT_DEGRADED


def test_the_same_input_gives_the_same_bytes_in_one_process_or_several(run, light_run):
    config, _ = run
    assert config.workers is None
    assert light_run.workers == 0
    assert light_run.submission_path.read_bytes() == config.submission_path.read_bytes()


def test_a_script_without_a_main_guard_is_graded(run, tmp_path):
    config, _ = run
    script = tmp_path / "script.py"
    script.write_text(
        "from lumbar_kernel import Config, predict\n"
        f"folders = dict(data={str(config.data)!r}, output={str(tmp_path / 'out')!r})\n"
        f"print(predict(Config(weights={str(config.weights)!r}, progress=False, **folders)).exit_code)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == str(EXIT_OK), done.stderr
    assert (tmp_path / "out" / "submission.csv").read_bytes() == config.submission_path.read_bytes()


def test_no_time_leaves_the_prior(dataset, trained, tmp_path):
    report = predict(Config(data=dataset, output=tmp_path, weights=trained, progress=False, seconds=0))
    studies = [study.study_id for study in report.studies]
    assert (tmp_path / "submission.csv").read_text() == submission_text({key: prior() for key in studies})
    assert report.exit_code == EXIT_DEGRADED


def test_a_short_budget_is_kept(dataset, trained, tmp_path):
    began = time.monotonic()
    report = predict(Config(data=dataset, output=tmp_path, weights=trained, progress=False, seconds=2))
    assert time.monotonic() - began < 2
    assert 0 < report.margin_seconds < 1.5
    assert len(grades_of(tmp_path / "submission.csv")) == 2 * len(ROWS)


def test_broken_weights_leave_the_prior_and_are_reported(dataset, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "manifest.json").write_text("{}")
    report = predict(Config(data=dataset, output=tmp_path / "out", weights=weights, progress=False))
    assert report.exit_code == EXIT_DEGRADED
    assert "manifest" in report.failures[0].message
    assert refused_by_schema(json.loads((tmp_path / "out" / "report.json").read_text())) == []
    assert grades_of(tmp_path / "out" / "submission.csv")


def test_damaged_members_are_left_out_and_named(dataset, trained, tmp_path):
    weights = shutil.copytree(trained, tmp_path / "weights")
    damaged = [spec for spec in read_manifest(weights).members if spec.view == "sagittal_t1"]
    for spec in damaged:
        path = weights / spec.files[0].file
        path.write_bytes(path.read_bytes()[:-1])
    report = predict(Config(data=dataset, output=tmp_path / "out", weights=weights, progress=False))
    assert set(report.members_failed) == {spec.name for spec in damaged}
    assert all("SHA-256" in reason for reason in report.members_failed.values())
    assert set(report.members) == {spec.name for spec in read_manifest(weights).members} - set(report.members_failed)
    assert report.studies[0].graded_rows == 15
    assert refused_by_schema(json.loads((tmp_path / "out" / "report.json").read_text())) == []
    assert report.exit_code == EXIT_DEGRADED


def _kill_first(find, done):
    while not done.is_set():
        with suppress(psutil.NoSuchProcess):
            for process in find():
                process.kill()
                return
        time.sleep(0.01)


@contextmanager
def killed(find):
    """Kill the first process that is found while a run is going on."""
    done = threading.Event()
    killer = threading.Thread(target=_kill_first, args=(find, done))
    killer.start()
    try:
        yield
    finally:
        done.set()
        killer.join()


def test_the_loss_of_the_process_that_loads_for_all_costs_no_grades(dataset, light, tmp_path):
    def loading():
        for child in multiprocessing.active_children():
            time.sleep(0.5)
            yield psutil.Process(child.pid)

    with killed(loading):
        report = predict(Config(data=dataset, output=tmp_path, weights=light, progress=False))
    failure = report.failures[-1]
    assert (failure.stage, failure.type) == (STARTING, "ProcessDied")
    assert "exit code -9" in failure.message
    assert [study.graded_rows for study in report.studies] == [len(ROWS)] * 2
    assert len(grades_of(tmp_path / "submission.csv")) == 2 * len(ROWS)


@pytest.mark.skipif(not CAN_FORK, reason="workers are children of this process where none can be forked")
def test_a_killed_worker_costs_at_most_the_stage_and_study_it_was_at(dataset, light, tmp_path):
    config = Config(data=dataset, output=tmp_path, weights=light, progress=False)

    def at_work():
        journal = config.journal_of(0)
        if journal.exists() and b'"graded"' in journal.read_bytes():
            for server in psutil.Process().children():
                yield from server.children()

    with killed(at_work):
        report = predict(config)
    failure = report.failures[-1]
    assert failure.type == "ProcessDied"
    assert "exit code -9, on cpu, at " in failure.message
    assert failure.stage not in (STARTING, LOADING)
    assert any(study.graded_rows == len(ROWS) for study in report.studies)
    left_out = [(study.study_id, item.stage) for study in report.studies for item in study.failures]
    assert set(left_out) <= {(study.study_id, failure.stage) for study in report.studies}
    assert len(grades_of(config.submission_path)) == 2 * len(ROWS)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match="no study"):
        predict(Config(data=tmp_path / "data", output=tmp_path / "out", progress=False))


def _drop(study, role_index):
    shutil.rmtree(sorted(study.iterdir())[role_index])


def _keep_one_file(study):
    files = sorted(study.rglob("*.dcm"))
    for file in files[1:]:
        file.unlink()


def _truncate(study):
    file = sorted(study.rglob("*.dcm"))[3]
    file.write_bytes(file.read_bytes()[:3000])


DAMAGE = {
    "no T1": (lambda study: _drop(study, 0), "no Sagittal T1", None),
    "no T2": (lambda study: _drop(study, 1), "no Sagittal T2", None),
    "no axial": (lambda study: _drop(study, 2), "no Axial T2", None),
    "one file": (_keep_one_file, "no ", None),
    "truncated": (_truncate, "pixels cannot be decoded", 25),
    "text named dcm": (lambda study: (next(study.iterdir()) / "999.dcm").write_text("hello"), "999.dcm", 25),
    "empty study": (lambda study: [shutil.rmtree(p) for p in study.iterdir()], "no usable series", 0),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_study_loses_only_its_own_grades_and_is_named(run, tmp_path, name):
    config, _ = run
    damage, sentence, rows = DAMAGE[name]
    data = shutil.copytree(config.data, tmp_path / "data")
    first, second = sorted((data / "test_images").iterdir(), key=lambda path: int(path.name))
    damage(first)
    damaged = Config(data=data, output=tmp_path / "out", weights=config.weights, progress=False, workers=0)
    report = predict(damaged)
    entry = next(study for study in report.studies if study.study_id == first.name)
    reasons = [*entry.missing, *(failure.message for failure in entry.failures)]
    assert any(sentence in text for text in reasons), reasons
    assert rows is None or entry.graded_rows == rows
    before, after = grades_of(config.submission_path), grades_of(damaged.submission_path)
    assert len(after) == 50
    for row in ROWS:
        assert after[f"{second.name}_{row}"] == pytest.approx(before[f"{second.name}_{row}"], abs=2e-6)


def test_the_report_fits_its_schema(run):
    config, _ = run
    entry = json.loads(Path(config.report_path).read_text())
    assert refused_by_schema(entry) == []
    assert all(study["landmarks"] for study in entry["studies"])


def test_a_strict_run_raises_what_a_tolerant_one_records(dataset, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "manifest.json").write_text("{}")
    for workers in (0, None):
        config = Config(
            data=dataset, output=tmp_path / "out", weights=weights, progress=False, strict=True, workers=workers
        )
        with pytest.raises(KernelError, match="manifest"):
            predict(config)
        assert grades_of(config.submission_path)
        assert refused_by_schema(json.loads(config.report_path.read_text())) == []


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_archives_give_the_bytes_of_their_folder(run, packed, tmp_path, kind):
    config, _ = run
    archived = Config(data=packed[kind], output=tmp_path, weights=config.weights, progress=False)
    assert predict(archived).exit_code == EXIT_OK
    assert archived.submission_path.read_bytes() == config.submission_path.read_bytes()
    assert (archived.output / "studies.csv").read_bytes() == (config.output / "studies.csv").read_bytes()


def test_one_process_writes_grades_as_they_come(dataset, light, tmp_path, monkeypatch):
    written = []
    for module in (supervisor, study_search):
        monkeypatch.setattr(module, "write_submission", lambda grades, _: written.append(dict(grades)))
    monkeypatch.setattr(supervisor, "PUBLISH_EVERY_SECONDS", 0.0)
    predict(Config(data=dataset, output=tmp_path, weights=light, progress=False, workers=0))
    changed = [sum(not np.array_equal(grades[key], prior()) for key in grades) for grades in written]
    assert changed[0] == 0
    assert 1 in changed
    assert changed[-1] == 2


def test_a_device_that_is_lost_in_one_process_ends_the_run_with_a_report(dataset, light, tmp_path, monkeypatch):
    def lose(*_):
        raise SystemExit("cuda:0 has stopped working")

    monkeypatch.setattr(supervisor, "grade_shard", lose)
    report = predict(Config(data=dataset, output=tmp_path, weights=light, progress=False, workers=0))
    assert report.exit_code == EXIT_DEGRADED
    assert "cuda:0 has stopped working" in report.failures[0].message
    assert len(grades_of(tmp_path / "submission.csv")) == 2 * len(ROWS)


def test_a_long_search_does_not_bring_the_ending_forward_but_a_slow_start_does(archive, tmp_path, monkeypatch):
    clock, endings = FakeClock(), []

    def slow(_):
        clock.now += 40
        yield

    monkeypatch.setattr(Scan, "__iter__", slow)
    monkeypatch.setattr(Scan, "_named", lambda _: ["7"])
    monkeypatch.setattr(supervisor, "CAN_FORK", False)
    monkeypatch.setattr(
        supervisor, "_run_workers", lambda config, _, state, *__: endings.append(supervisor._ending(config, state))
    )
    config = Config(data=archive, output=tmp_path / "out", progress=False, seconds=100)
    predict(config, clock=clock)
    predict(config, clock=clock, started=clock.now - 30)
    assert endings == [supervisor.ENDING_SHARE * config.reserve, 30 / supervisor.SLOW_START]


@pytest.mark.parametrize("complete", [True, False])
def test_a_run_that_completes_leaves_no_journal_not_even_of_shards_that_it_did_not_have(
    archive, tmp_path, ungraded, complete
):
    ungraded[0].append(Done(Recorder(), complete=complete))
    config = Config(data=archive, output=tmp_path / "out", progress=False, workers=0, resume=True)
    config.output.mkdir()
    config.journal_of(5).touch()
    predict(config)
    assert config.interrupted != complete


@pytest.mark.parametrize("interrupted", [True, False])
def test_grades_of_the_run_before_that_stay_are_told_from_the_prior(archive, tmp_path, interrupted):
    config = Config(data=archive, output=tmp_path / "out", progress=False, seconds=0, workers=0)
    predict(config)
    text = config.submission_path.read_text()
    line = next(line for line in text.splitlines() if line.startswith("s8_"))
    config.submission_path.write_text(text.replace(line, f"{line.split(',')[0]},0.2,0.3,0.5"))
    if interrupted:
        config.journal_of(0).touch()
    report = predict(dataclasses.replace(config, resume=True))
    rows = [*csv.DictReader((config.output / "grades.csv").read_text().splitlines())]
    assert [(row["study_id"], row["severe"], row["members"]) for row in rows if row["source"] == "kernel"] == [
        ("s8", "0.5", EARLIER)
    ]
    assert {study.study_id: study.graded_rows for study in report.studies if study.graded_rows} == {"s8": 1}
    assert refused_by_schema(json.loads(config.report_path.read_text())) == []
    assert report.exit_code == EXIT_DEGRADED


def test_a_run_in_the_folder_of_another_leaves_none_of_its_files(archive, tmp_path, ungraded):
    config = Config(data=archive, output=tmp_path / "out", progress=False, workers=0, resume=True)
    for folder in (config.pictures_path, config.output / "structured_reports"):
        folder.mkdir(parents=True)
    (config.output / "studies.csv").write_text("study_id,study_instance_uid,folder\nolder,,\n")
    left = [config.journal_of(3), config.pictures_path / "older.jpg", config.pictures_path / "s1.jpg"]
    for path in left:
        path.touch()
    predict(config)
    assert all(path.exists() for path in left)
    config.page_path.touch()
    left.append(config.page_path)
    (config.output / "studies.csv").write_text("study_id,study_instance_uid,folder\nolder,,\n")
    report = predict(dataclasses.replace(config, resume=False))
    assert not any(path.exists() for path in left)
    assert any("structured_reports/ is of an earlier run" in note for note in report.notes)


def test_one_process_imports_nothing_heavy_where_there_is_no_time_for_it(archive, tmp_path, ungraded):
    config = Config(data=archive, output=tmp_path / "out", progress=False, seconds=5, workers=0)
    report = predict(config)
    assert ungraded[1] == []
    assert any("no time to load the networks" in note for note in report.notes)
    predict(dataclasses.replace(config, seconds=60))
    assert ungraded[1] == [1]


def test_a_signal_ends_a_run_in_one_process_after_its_grades_are_written(archive, tmp_path, monkeypatch):
    def stop(*_):
        raise SystemExit(143)

    monkeypatch.setattr(supervisor, "grade_shard", stop)
    config = Config(data=archive, output=tmp_path / "out", progress=False, workers=0)
    with pytest.raises(SystemExit, match="143"):
        predict(config)
    assert len(grades_of(config.submission_path)) == 9 * len(ROWS)


def test_a_process_that_may_start_no_others_grades_by_itself(archive, tmp_path, monkeypatch, ungraded, caplog):
    monkeypatch.setattr(supervisor.multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    predict(Config(data=archive, output=tmp_path / "out", progress=False))
    assert ungraded[1] == [1]
    assert "daemonic" in caplog.text
    caplog.clear()
    predict(Config(data=archive, output=tmp_path / "out", progress=False, workers=0))
    assert caplog.text == ""


def _refuse(*_):
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_where_no_process_can_be_started_the_prior_stays_and_the_report_says_why(
    archive, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", _refuse)
    config = Config(data=archive, output=tmp_path / "out", progress=False, device="cpu")
    report = predict(config)
    assert len(grades_of(config.submission_path)) == 9 * len(ROWS)
    assert [(item.stage, item.type) for item in report.failures] == [("start", "BlockingIOError")]
    assert caplog.text.count("no process could be started that loads the networks") == int(CAN_FORK)
    assert report.exit_code == EXIT_DEGRADED


@pytest.mark.skipif(not CAN_FORK, reason="processes are not forked on this system")
def test_the_process_that_loads_the_networks_gets_what_is_left_of_the_time(tmp_path, monkeypatch):
    given, clock = [], FakeClock()
    monkeypatch.setattr(supervisor, "ForkServer", lambda _, __, seconds: given.append(seconds) or nullcontext())
    budget = Budget(10, reserve=1.0, clock=clock)
    clock.now += 4
    supervisor._loading(Config(data=tmp_path, output=tmp_path), budget)
    assert given == [6]


def test_two_runs_in_one_folder_are_named_and_one_that_has_ended_is_not(archive, tmp_path, ungraded, caplog):
    config = Config(data=archive, output=tmp_path / "out", progress=False, workers=0)
    (tmp_path / "real").mkdir()
    config.output.symlink_to(tmp_path / "real")
    with opened(tmp_path / "real") as handle:
        assert lock(handle, wait=False)
        report = predict(config)
    (note,) = [text for text in report.notes if "another run writes into" in text]
    assert note in caplog.text
    assert report.exit_code == EXIT_DEGRADED  # since nothing was graded here
    assert not any("another run" in text for text in predict(config).notes)


@pytest.fixture
def quick(tmp_path):
    """Options of a run of 100 s, what is known of it, its clock and its budget."""
    clock = FakeClock()
    config = Config(data=tmp_path, output=tmp_path, progress=False, seconds=100)
    return config, RunState({}, {}), clock, Budget(100, reserve=config.reserve, clock=clock)


def test_new_grades_are_written_at_once_then_now_and_then_and_what_a_disk_refused_once_is_forgotten(quick, monkeypatch):
    config, state, clock, budget = quick
    written, full = [], []

    def write(*_):
        written.append(budget.elapsed())
        if full:
            raise OSError(full.pop(), "No space left on device")

    monkeypatch.setattr(supervisor, "write_submission", write)
    publisher = supervisor._Publisher(config, state, budget)
    for second, new in enumerate((0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1)):
        state.dirty, clock.now = state.dirty or bool(new), 1000 + second
        publisher.publish_if_due()
    assert written == [1, 7, 14]
    full.append(28)
    publisher.publish()
    assert [failure.stage for failure in state.unwritten] == ["write submission"]
    publisher.publish()
    assert state.unwritten == ()


def test_the_probe_of_devices_keeps_the_deadline_and_what_is_broken_is_reported(quick, monkeypatch):
    config, state, clock, budget = quick
    given = []
    monkeypatch.setattr(
        supervisor,
        "find_devices",
        lambda _, *, seconds: given.append(seconds) or Devices(("cpu",), {"cuda:1": "dead"}),
    )
    assert supervisor._devices(config, state, budget) == ("cpu",)
    assert [failure.message for failure in state.failures] == ["cuda:1: dead"]
    named = dataclasses.replace(config, device="cuda:1")
    with pytest.raises(ConfigError, match="dead"):
        supervisor._devices(named, state, Budget(None, reserve=0.0))
    clock.now += 99
    assert supervisor._devices(named, state, budget) == ("cpu",)  # it may have had too little time for its probe
    assert given == [95, PROBE_SECONDS, 0]


class Workers:
    """A pool whose workers send one message a second, and lose a worker at the fourth."""

    finished, unfinished, seconds, busy = False, ["the time was up in: crop"], {"crop": 1.0}, True

    def __init__(self, clock, patience):
        self.clock, self.patience, self.failures = clock, patience, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def messages(self, seconds):
        self.patience.append(seconds)
        self.clock.now += 1
        if len(self.patience) == 4:
            self.failures.append(Failure("crop", "ProcessDied", "exit code -9"))
        yield Ready("cpu", "sha", {})


@pytest.mark.parametrize(("strict", "rounds"), [(False, 97), (True, 4)])
def test_workers_run_until_the_ending_and_what_became_of_them_is_reported(quick, monkeypatch, strict, rounds):
    config, state, clock, budget = quick
    patience = []
    clock.now += 0.2
    monkeypatch.setattr(supervisor, "WorkerPool", lambda *_, **__: Workers(clock, patience))
    monkeypatch.setattr(supervisor, "write_submission", lambda *_: None)
    monkeypatch.setattr(supervisor, "find_devices", lambda *_, **__: Devices(("cpu",)))
    supervisor._run_workers(dataclasses.replace(config, strict=strict), (), state, budget, None)
    assert len(patience) == len(state.ready) == rounds
    assert max(patience) == supervisor.POLL_SECONDS
    assert strict or patience[-1] == pytest.approx(100 - 96.2 - supervisor.ENDING_SHARE * config.reserve)
    assert (state.cut_short, state.notes, state.seconds) == (True, Workers.unfinished, Workers.seconds)
    assert [failure.type for failure in state.failures] == ["ProcessDied"]


def test_without_time_no_process_is_started(studies, tmp_path, monkeypatch):
    for name in ("ForkServer", "WorkerPool", "find_devices"):
        monkeypatch.setattr(supervisor, name, lambda *_, **__: pytest.fail("started"))
    predict(Config(data=tmp_path / "0", output=tmp_path / "out", progress=False, seconds=0))


def test_tables_and_a_report_that_cannot_be_written_are_reported(quick, monkeypatch):
    config, state, _, budget = quick
    monkeypatch.setattr(supervisor, "write_tables", _refuse)
    stage = "write grades.csv or landmarks.csv"
    assert [item.stage for item in supervisor._write_report(config, state, budget).failures] == [stage]
    assert stage in config.report_path.read_text()
    monkeypatch.setattr(Report, "write", _refuse)
    assert [item.stage for item in supervisor._write_report(config, state, budget).failures][1:] == [
        "write report.json"
    ]
