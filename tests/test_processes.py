import os
import subprocess
import sys

import pytest

from lumbar_kernel.processes import Preloaded, process_pool, spawn_context


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


def test_a_server_of_processes_imports_what_they_need():
    preloaded = Preloaded(["fractions"])
    assert preloaded.ready(60)
    process = preloaded.context.Process(target=_exit_with, args=("sys.modules['fractions'] is not None",))
    process.start()
    process.join()
    assert process.exitcode == 1


def _exit_with(expression):
    sys.exit(int(eval(expression)))


def test_a_process_of_the_server_has_the_present_environment(monkeypatch):
    preloaded = Preloaded([])
    assert preloaded.ready(60)
    for value in ("1", "2"):
        monkeypatch.setenv("LUMBAR_TEST", value)
        process = preloaded.context.Process(target=_exit_with, args=("os.environ['LUMBAR_TEST']",))
        process.start()
        process.join()
        assert process.exitcode == int(value)


def test_waiting_for_the_server_blocks_neither_other_processes_nor_the_main_module(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(3)\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "print('main runs')\n"
        "from lumbar_kernel.processes import Preloaded, process_pool\n"
        "preloaded = Preloaded(['slow'])\n"
        "with process_pool(1) as pool:\n    pool.submit(abs, 1).result()\n"
        "print(__file__ is not None, preloaded.ready(0.0))\n"
        "print(preloaded.ready(60))\n"
        "process = preloaded.context.Process(target=os.getpid)\n"
        "process.start()\nprocess.join()\nprint(process.exitcode)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:4] == ["main runs", "True False", "True", "0"], done.stderr


def test_without_a_server_processes_are_spawned(monkeypatch):
    def fails(*_):
        raise OSError("no more processes")

    monkeypatch.setattr("lumbar_kernel.processes._ForkedProcess.start", fails)
    preloaded = Preloaded([])
    assert preloaded.ready(60)
    assert preloaded.context.get_start_method() == "spawn"
