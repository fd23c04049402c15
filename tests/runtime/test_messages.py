import pickle

import numpy as np

from lumbar_kernel.results.report import Failure, StudyReport
from lumbar_kernel.runtime.messages import Done, Note, Ready, Shard, Step, Update
from lumbar_kernel.runtime.recorder import Recorder


def test_every_message_survives_the_pipe_between_processes():
    recorder = Recorder()
    recorder.add("7", Failure("crop", "ValueError", "too dark"))
    messages = [
        Ready("cpu", "ab", {"axial": "hash differs"}),
        Step("crop", ("7",), {"read": 1.5}),
        Note("time for 1 of 2 studies"),
        Update(np.full((25, 3), 1 / 3), (("canal_t2",),) * 25, StudyReport("7", graded_rows=25)),
        Done(recorder, members=("axial",), complete=True),
    ]
    for message in messages:
        received = pickle.loads(pickle.dumps(message))
        assert type(received) is type(message)
        for name, value in vars(message).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(getattr(received, name), value)
            elif not isinstance(value, Recorder):
                assert getattr(received, name) == value
    assert received.recorder.failures("7") == recorder.failures("7")


def test_by_default_a_shard_is_graded_in_blocks_from_the_start():
    shard = Shard(0, (), "cpu")
    assert (shard.resume, shard.one_at_a_time, dict(shard.given_up)) == (False, False, {})
