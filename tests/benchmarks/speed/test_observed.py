import os
import subprocess
import sys

import pytest

from benchmarks.speed.observed import observe, process_tree, pss_mib


def test_a_run_is_observed_from_its_first_file_to_its_end(dataset, light, tmp_path):
    run = observe(dataset, tmp_path / "out", "--weights", str(light), memory=True)
    assert 0 < run.first_file_seconds < run.start_seconds <= run.seconds
    assert run.report["seconds"] <= run.seconds
    assert 50 < run.usual_mib <= run.peak_mib < 20_000


def test_a_run_without_a_submission_is_no_measurement(tmp_path):
    with pytest.raises(RuntimeError, match="exit code 2"):
        observe(tmp_path / "gone", tmp_path / "out")


def test_the_tree_of_a_process_holds_its_children_and_their_memory():
    script = "import sys; block = b'x' * (64 << 20); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert child.pid in process_tree(os.getpid())
        assert pss_mib(child.pid) > 64
        child.stdin.close()
    assert pss_mib(child.pid) == 0.0
