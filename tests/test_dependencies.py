import subprocess
import sys

import pytest

from lumbar_kernel import dependencies
from lumbar_kernel.dependencies import (
    ARCHIVE_PACKAGES,
    PACKAGES,
    require_archive,
    require_dependencies,
    require_structured_reports,
)
from lumbar_kernel.errors import DependencyError
from tests.conftest import ROOT


def test_this_environment_has_all_of_them():
    require_dependencies()


@pytest.mark.parametrize(
    ("missing", "require", "said"),
    [
        (
            ("cv2", "timm"),
            require_dependencies,
            r"timm, opencv-python-headless; `pip install 'lumbar-kernel\[runtime\]'`",
        ),
        (("ray",), require_archive, r"ray; `pip install 'lumbar-kernel\[archive\]'`"),
        (("highdicom",), require_structured_reports, r"highdicom; `pip install 'lumbar-kernel\[dicom\]'`"),
    ],
)
def test_missing_packages_are_named_with_the_command_that_brings_them(missing, require, said, monkeypatch):
    monkeypatch.setattr(dependencies, "find_spec", lambda name: None if name in missing else object())
    with pytest.raises(DependencyError, match=said):
        require()


@pytest.mark.skipif(not hasattr(sys, "_base_executable"), reason="needs the interpreter below the environment")
@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [(["--version"], 0, "lumbar-kernel "), (["predict", "."], 2, "not installed: torch"), (["--help"], 0, "usage:")],
)
def test_an_interpreter_without_packages_gets_a_sentence(arguments, code, text, tmp_path):
    command = [sys._base_executable, "-S", "-m", "lumbar_kernel", *arguments]  # -S: no site-packages
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_every_package_is_an_extra_of_the_wheel():
    metadata = (ROOT / "pyproject.toml").read_text()
    assert all(f'"{package}>=' in metadata for package in (PACKAGES | ARCHIVE_PACKAGES).values())
