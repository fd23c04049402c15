import signal
import subprocess
import sys
import time

import pytest

from lumbar_kernel.__main__ import COMMANDS, main
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_USAGE
from tests.conftest import ROOT


@pytest.mark.parametrize("command", [[], ["predict"], ["score"], ["phantom"], ["inspect"], ["report"]])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "usage: lumbar-kernel" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "{empty}"],
        ["inspect", "{empty}"],
        ["report", "{empty}"],
        ["predict", "{empty}/absent"],
        ["phantom", "p", "--studies", "0"],
        ["phantom", "p", "--studies", "1", "--reader-noise", "-1"],
        ["phantom", "--studies", "1"],
        ["phantom", "p", "--studies", "1", "--seed", "-1"],
    ],
)
def test_wrong_usage_is_reported_in_one_line(arguments, tmp_path, capsys):
    filled = [word.format(empty=tmp_path) for word in arguments]
    if filled[0] == "predict":
        filled += ["--out", str(tmp_path / "out")]
    assert main(filled) == EXIT_USAGE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("lumbar-kernel: ")


def test_help_is_quick_since_no_command_is_imported_before_it_is_chosen():
    heavy = {"torch", "timm", "pandas", "cv2", "pydicom", "highdicom", "matplotlib"}
    code = f"import sys, lumbar_kernel.__main__; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_of_the_commands_is_registered():
    found = {path.stem for path in (ROOT / "lumbar_kernel" / "commands").glob("*.py")} - {"__init__", "options"}
    assert {module.__name__.rpartition(".")[2] for module in COMMANDS} == found


def command(*arguments):
    return [sys.executable, "-m", "lumbar_kernel", *map(str, arguments)]


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", ">&-", "2>&-", "| true"])
def test_the_exit_code_is_that_of_the_run_whatever_becomes_of_its_streams(dataset, tmp_path, streams):
    run = command("predict", dataset, "--out", tmp_path, "--seconds", "0")
    script = f'"$@" {streams}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", script, "bash", *run], capture_output=True, text=True)
    assert done.returncode == EXIT_DEGRADED, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "report.json").is_file()


def test_streams_that_are_closed_keep_their_numbers_here_and_in_other_processes():
    code = """
import os, subprocess
from lumbar_kernel.__main__ import open_closed_streams
open_closed_streams()
null = os.stat(os.devnull)
assert [os.path.samestat(os.fstat(number), null) for number in (0, 2)] == [True, True]
subprocess.run(["sh", "-c", "echo lost >&2 && cat"], check=True)
print("reached")
"""
    shell = ["sh", "-c", 'exec "$0" -c "$1" <&- 2>&-', sys.executable, code]
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == "reached\n"


def test_a_request_to_end_leaves_the_grades_so_far_and_no_unpacked_files(packed, untrained, tmp_path, temporary):
    out, data = tmp_path / "out", packed["gztar"]
    with subprocess.Popen(command("predict", data, "--out", out, "--weights", untrained, "--device", "cpu")) as run:
        until = time.monotonic() + 60
        while not (out / "studies.csv").exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert [*temporary.iterdir()]
        for _ in range(2):  # the second one must not disturb what the first has begun
            run.send_signal(signal.SIGTERM)
    assert run.returncode == 128 + signal.SIGTERM
    assert [*temporary.iterdir()] == []
    assert (out / "submission.csv").is_file()


def test_ctrl_c_ends_a_command_with_one_line():
    script = """
import os, signal
from lumbar_kernel import __main__
signal.signal(signal.SIGINT, signal.default_int_handler)  # where it is ignored, as in the background
__main__.main = lambda: os.kill(os.getpid(), signal.SIGINT)
__main__.run()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "lumbar-kernel: interrupted\n")


@pytest.mark.parametrize(("ignored", "code"), [("SIG_DFL", 128 + signal.SIGHUP), ("SIG_IGN", 0)])
def test_a_terminal_that_closes_ends_the_run_unless_that_is_ignored(ignored, code):
    script = f"""
import os, signal
from lumbar_kernel import __main__
signal.signal(signal.SIGHUP, signal.{ignored})
__main__.main = lambda: os.kill(os.getpid(), signal.SIGHUP) or 0
__main__.run()
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == code
