import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks.kaggle.offline import python_of
from benchmarks.robustness.versions import VERSION_SETS, graded, install, main, versions_of
from benchmarks.whole_runs import largest_difference


@pytest.fixture(scope="module")
def runtime():
    """Package → requirement of the extra `runtime`."""
    found = map(Requirement, requires("lumbar-kernel"))
    of_runtime = [item for item in found if item.marker is not None and "runtime" in str(item.marker)]
    return {requirement.name: requirement for requirement in of_runtime}


def test_the_oldest_versions_are_those_that_the_wheel_declares(runtime):
    for name, requirement in runtime.items():
        (minimum,) = requirement.specifier
        declared, pinned = (Version(text).release for text in (minimum.version, VERSION_SETS["oldest"][name]))
        assert minimum.operator == ">="
        assert pinned[: len(declared)] == declared, name


@pytest.mark.parametrize("name", ["oldest", "kaggle"])
def test_a_set_pins_every_package_to_a_version_that_the_wheel_allows(name, runtime):
    pins = VERSION_SETS[name]
    assert set(pins) == {*runtime, "torchvision"}  # which timm needs, and which fits one torch only
    assert all(requirement.specifier.contains(pins[package]) for package, requirement in runtime.items())


def test_an_environment_grades_as_this_one_when_it_is_this_one(dataset, light, tmp_path):
    rows = [graded(Path(sys.executable), dataset, tmp_path / name, "--weights", str(light)) for name in ("a", "b")]
    assert len(rows[0]) == 50
    assert largest_difference(*rows) == 0.0
    assert versions_of(Path(sys.executable), ["numpy"]) == {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }


def _wheel(path, text):
    """A wheel of one module without any requirement."""
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("versioned.py", text)
        wheel.writestr("versioned-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: versioned\nVersion: 1\n")
        wheel.writestr("versioned-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("versioned-1.dist-info/RECORD", "")
    return path


def test_an_environment_is_made_once_and_gets_the_present_wheel(tmp_path):
    folder, wheel = tmp_path / "environment", tmp_path / "versioned-1-py3-none-any.whl"
    for text in ("first", "second"):
        install(folder, sys.executable, {"torch": "2.4.0"}, _wheel(wheel, f"# {text}"))
        (module,) = folder.glob("lib/*/site-packages/versioned.py")
        assert module.read_text(encoding="utf-8") == f"# {text}"
    assert (folder / "constraints.txt").read_text(encoding="utf-8") == "torch==2.4.0\n"
    assert versions_of(python_of(folder), ["versioned"])["versioned"] == "1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.whl", "newest=python3"], "no wheel at absent.whl; `make wheel` builds it"),
        (["absent.whl", "latest=python3"], "'latest': write oldest or kaggle or newest with an interpreter"),
        (["absent.whl", "newest"], "'newest': write"),
    ],
)
def test_wrong_usage_is_named_before_anything_is_installed(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
