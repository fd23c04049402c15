import numpy as np
import pytest

from lumbar_kernel import Config
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK, Failure, StudyReport
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.first_grades import EARLIER, NOT_GRADED
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
    assert (report.exit_code, report.members, report.device) == (EXIT_OK, ("canal_t2",), "cpu")
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
    assert (report.members, report.notes) == ((), ("once",))


def test_workers_of_one_device_name_it_once_and_a_run_cut_short_names_no_member(tmp_path):
    state = graded_run()
    for device in ("cuda:0", "cpu"):
        state.take(Ready(device, "ab", {}))
    state.cut_short = True
    report = report_of(state, tmp_path)
    assert (report.device, report.members) == ("cpu, cuda:0", ())


def resumed_run():
    """A run that begins with the grades of the one before for ten rows of a study."""
    state = RunState({"1": np.full((25, 3), 1 / 3)}, {"1": StudyReport("1")}, {"1": ((EARLIER,),) * 10 + ((),) * 15})
    state.take(Ready("cpu", "ab", {}))
    return state


def test_a_study_that_cannot_be_graded_again_keeps_the_grades_of_the_run_before_and_says_why(tmp_path):
    state, failure = resumed_run(), Failure("localise", "LocalisationError", "no levels")
    for _ in range(2):
        state.take(Update(prior(), ((),) * 25, StudyReport("1", missing=("no axial",), failures=(failure,))))
    state.take(Done(Recorder(), complete=True))
    assert np.array_equal(state.grades["1"], np.full((25, 3), 1 / 3))
    assert state.graded["1"].sum() == 10
    (study,) = report_of(state, tmp_path).studies
    assert (study.members, study.graded_rows, study.failures) == ((EARLIER,), 10, (failure,))
    assert study.missing == (NOT_GRADED, "no axial")


def test_new_grades_replace_those_of_the_run_before(tmp_path):
    state = resumed_run()
    state.take(Update(prior(), MEMBERS[:5] + ((),) * 20, StudyReport("1", graded_rows=5)))
    state.take(Update(prior(), ((),) * 25, StudyReport("1")))
    assert np.array_equal(state.grades["1"], prior())
    assert state.graded["1"].sum() == 0


def test_a_run_that_ends_with_grades_of_the_one_before_is_not_whole(tmp_path):
    state = resumed_run()
    state.row_members["1"] = ((EARLIER,),) * 25
    state.take(Update(prior(), ((),) * 25, StudyReport("1", missing=("no series",))))
    state.take(Done(Recorder(), complete=True))
    report = report_of(state, tmp_path)
    assert report.studies[0].graded_rows == 25
    assert report.exit_code == EXIT_DEGRADED
