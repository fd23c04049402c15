import os
import subprocess
import sys

import pytest

from lumbar_kernel.processes import THREAD_VARIABLES, process_pool, spawn_context


def test_the_pool_runs_its_work_in_other_processes_in_order():
    with process_pool(2) as pool:
        assert list(pool.map(abs, range(-3, 3))) == [3, 2, 1, 0, 1, 2]
        assert pool.submit(os.getpid).result() != os.getpid()


def test_processes_are_spawned_never_forked():
    assert spawn_context().get_start_method() == "spawn"


UNGUARDED = """
import os
import sys
print("main runs")
from lumbar_kernel.processes import process_pool
with process_pool(2) as pool:
    print(sum(pool.map(abs, range(-3, 0))))
print(__name__, os.path.basename(str(globals().get("__file__"))), __spec__ is None)
"""


@pytest.mark.parametrize("way", ["file", "stdin", "command"])
def test_a_script_without_a_guard_runs_once(tmp_path, way):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    command = {"file": [str(script)], "stdin": ["-"], "command": ["-c", UNGUARDED]}[way]
    text = UNGUARDED if way == "stdin" else None
    done = subprocess.run([sys.executable, *command], input=text, capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["main runs", "6"], done.stderr
    assert done.stdout.count("main runs") == 1
    assert ("script.py" in done.stdout) == (way == "file")


def test_a_command_may_ask_for_its_own_functions(tmp_path):
    (tmp_path / "command.py").write_text(
        "from lumbar_kernel.processes import process_pool\n"
        "def double(x):\n    return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    with process_pool(1, with_main=True) as pool:\n        print(list(pool.map(double, [1, 2])))\n"
    )
    command = [sys.executable, "-m", "command"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[2, 4]", done.stderr


def test_processes_compute_on_one_thread_unless_the_user_says_otherwise(monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with process_pool(1) as pool:
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "3"
    assert "OPENBLAS_NUM_THREADS" not in os.environ
