"""Members over blocks of studies, by runs without pixels or networks; see `Passes`."""

from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.messages import Step, Update


def test_studies_are_graded_alone_beside_blank_ones_once_a_process_was_lost(passes):
    passes.choose("full")
    assert passes.run(one_at_a_time=True).complete
    assert len(passes.batches) == 4 * 3
    assert all(len(batch) == 2 and batch.count("") == 1 for batch in passes.batches)


def test_a_block_that_fails_is_tried_study_by_study_and_a_single_study_once(passes):
    def fail(batch):
        if "1" in batch:
            raise ValueError("odd")

    passes.choose("full")
    passes.fault = fail
    assert not passes.run().complete
    last = {item.report.study_id: item.report for item in passes.messages(Update)}
    assert {key: len(report.members) for key, report in last.items()} == {"0": 3, "1": 0, "2": 3, "3": 3}
    assert {failure.type for failure in last["1"].failures} == {"ValueError"}
    assert last["0"].failures == last["2"].failures == ()
    alone = [batch for batch in passes.batches if batch == ["", "1"]]
    # by two members in the first pass and in their own, by the third in its own
    assert len(alone) == len(last["1"].failures) == 5


def test_a_dropped_member_is_named_once_and_not_for_every_study(passes):
    passes.choose("full")
    stage = "grade tiny_axial_t2"
    done = passes.run(given_up={(None, stage): Failure(stage, "ProcessDied", "exit code -9")})
    assert done.members_failed == {"tiny_axial_t2": "exit code -9"}
    assert stage not in {item.stage for item in passes.messages(Step)}
    assert all(item.report.failures == () for item in passes.messages(Update))
