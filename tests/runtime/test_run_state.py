import numpy as np
import pytest

from lumbar_kernel import Config
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_GRADED, Failure, StudyReport
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Done, Note, Ready, Update
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.run_state import RunState
from lumbar_kernel.schema import prior

MEMBERS = (("canal_t2",),) * 25


def graded_run():
    """A run of two studies that are both graded."""
    state = RunState(grades={"1": prior(), "2": prior()}, reports={key: StudyReport(key) for key in ("1", "2")})
    state.take(Ready("cpu", "ab", {}))
    for key in ("2", "1"):
        state.take(Update(np.full((25, 3), 1 / 3), MEMBERS, StudyReport(key, graded_rows=25)))
    state.take(Done(Recorder(), members=("canal_t2",), complete=True))
    return state


def report_of(state, tmp_path):
    return state.report(Config(data=tmp_path, output=tmp_path), Budget(None, reserve=0.0))


def test_a_complete_run_is_reported_in_the_order_of_the_submission(tmp_path):
    state = graded_run()
    report = report_of(state, tmp_path)
    assert state.dirty
    assert [study.study_id for study in report.studies] == ["1", "2"]
    assert (report.exit_code, report.members, report.device) == (EXIT_GRADED, ("canal_t2",), "cpu")
    assert all(rows.all() for rows in state.graded.values())


WAYS = (
    *("failure", "guarded failure", "failure of a study", "member", "dropped member"),
    *("incomplete", "cut short", "ungraded row", "unwritten", "no worker"),
)


@pytest.mark.parametrize("what", WAYS)
def test_whatever_is_missing_degrades_the_run(what, tmp_path):
    state = graded_run()
    if what == "failure":
        state.failures.append(Failure("localise", "ProcessDied", "gone"))
    elif what == "guarded failure":
        recorder = Recorder()
        recorder.add(None, Failure("grading", "ValueError", "odd"))
        state.take(Done(recorder, complete=True))
        assert state.failed == recorder.failures(None)
    elif what == "member":
        state.take(Ready("cpu", "ab", {"axial": "damaged"}))
    elif what == "dropped member":
        state.take(Done(Recorder(), members_failed={"axial": "no memory"}, complete=True))
    elif what == "failure of a study":
        failure = Failure("pictures", "OSError", "odd")
        state.take(Update(prior(), MEMBERS, StudyReport("1", graded_rows=25, failures=(failure,))))
    elif what == "unwritten":
        state.unwritten = (Failure("write submission", "OSError", "No space left on device"),)
    elif what == "no worker":
        state.done.clear()
    elif what == "incomplete":
        state.take(Done(Recorder(), complete=False))
    elif what == "cut short":
        state.cut_short = True
    else:
        state.take(Update(prior(), ((),) * 25, StudyReport("1", graded_rows=24)))
    assert report_of(state, tmp_path).exit_code == EXIT_DEGRADED


def test_a_member_counts_when_every_worker_finished_it(tmp_path):
    state = graded_run()
    state.take(Done(Recorder(), members=("axial",), complete=True))
    state.take(Note("once"))
    state.take(Note("once"))
    report = report_of(state, tmp_path)
    assert (report.members, report.plan) == ((), ("once",))


def test_workers_of_one_device_name_it_once_and_a_run_cut_short_names_no_member(tmp_path):
    state = graded_run()
    for device in ("cuda:0", "cpu"):
        state.take(Ready(device, "ab", {}))
    state.cut_short = True
    report = report_of(state, tmp_path)
    assert (report.device, report.members) == ("cpu, cuda:0", ())
