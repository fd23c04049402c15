import subprocess
import sys

import pytest

from lumbar_kernel.__main__ import COMMANDS, main
from lumbar_kernel.results.report import EXIT_USAGE
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
