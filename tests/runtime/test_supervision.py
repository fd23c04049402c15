import signal
import subprocess

import pytest

from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.messages import Shard
from lumbar_kernel.runtime.shared_memory import SHARED_FOLDER
from lumbar_kernel.runtime.supervision import end_with_readers, rest_of


class Leader(subprocess.Popen):
    """A process with a child of its own, as a worker has readers, and with what is asked of a worker."""

    def __init__(self):
        super().__init__(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, process_group=0)
        self.child = int(self.stdout.readline())

    def join(self, seconds):
        self.wait(seconds)


@pytest.mark.skipif(not SHARED_FOLDER.is_dir(), reason="shared memory is not in files on this system")
def test_a_worker_ends_with_its_readers_and_leaves_no_shared_memory():
    with Leader() as leader:
        block = SHARED_FOLDER / f"lumbar_{leader.pid}_test"
        other = SHARED_FOLDER / f"lumbar_{leader.pid}0_test"
        for path in (block, other):
            path.touch()
        end_with_readers(leader, seconds=30)
        assert leader.returncode == -signal.SIGKILL
        assert leader.stdout.read() == b""  # the child held it open
    assert (block.exists(), other.exists()) == (False, True)
    other.unlink()


def test_what_a_shard_left_out_stays_out_and_the_rest_continues_one_study_at_a_time():
    first, second = (Failure("crop", "ProcessDied", text) for text in ("first", "second"))
    shard = Shard(3, (), "cpu", drawn=frozenset("7"), given_up={("7", "crop"): first})
    rest = rest_of(shard, without={("8", "crop"): second})
    assert (rest.number, rest.drawn, rest.resume, rest.one_at_a_time) == (3, shard.drawn, True, True)
    assert rest.given_up == {("7", "crop"): first, ("8", "crop"): second}
