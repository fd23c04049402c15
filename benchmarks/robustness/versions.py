"""The same studies graded with other versions of Python and of the packages.

    python -m benchmarks.robustness.versions WHEEL oldest=python3.10 kaggle=python3.12 newest=python3.13

makes an environment for each set of versions with the interpreter named behind it, installs the wheel with its extra
`runtime` there, grades phantoms or `--data` and compares the submission with that of this interpreter. The environments
take 6 GB each and are kept in `--cache`, to be used again; installing them needs a package index.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.kaggle.offline import environment, python_of
from benchmarks.speed.data import dataset
from benchmarks.tables import table_head, table_row
from benchmarks.whole_runs import command, largest_difference
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results.submission import load_submission

VERSION_SETS: Mapping[str, Mapping[str, str]] = {
    # The first release of each package that the extra `runtime` allows and that can still be installed.
    "oldest": {
        "torch": "2.4.0",
        "torchvision": "0.19.0",
        "timm": "1.0.3",
        "pydicom": "2.4.0",
        "numpy": "1.26.0",
        "pandas": "2.0.0",
        "opencv-python-headless": "4.8.0.76",
        "tqdm": "4.60.0",
        "safetensors": "0.4.0",
    },
    # Kaggle's notebook image of June 2026 (v170), whose Python is 3.12.
    "kaggle": {
        "torch": "2.10.0",
        "torchvision": "0.25.0",
        "timm": "1.0.26",
        "pydicom": "3.0.1",
        "numpy": "2.0.2",
        "pandas": "2.2.2",
        "opencv-python-headless": "4.13.0.92",
        "tqdm": "4.67.3",
        "safetensors": "0.7.0",
    },
    "newest": {},
}
"""Versions by the name of their set, none where the package index decides."""

SHOWN = ("torch", "timm", "pydicom", "numpy", "pandas", "opencv-python-headless", "safetensors")
"""Packages whose versions the table names."""

VERSIONS = """
import json, platform, sys
from importlib.metadata import version
print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in sys.argv[1:]}}))
"""


def install(folder: Path, interpreter: str, pins: Mapping[str, str], wheel: Path) -> None:
    """Make an environment with pinned packages and the wheel in it, or refresh the wheel of one that exists.

    Args:
        folder: of the environment.
        interpreter: name or path of the Python that makes it.
        pins: package → version.
        wheel: with the extra `runtime`.

    Raises:
        CalledProcessError: there is no such interpreter, or a package cannot be installed.
    """
    if not python_of(folder).exists():
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
    call: list[str | Path] = [python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*call, "-c", constraints, f"{wheel}[runtime]"], check=True)
    subprocess.run([*call, "--force-reinstall", "--no-deps", wheel], check=True)


def graded(python: Path, data: Path, out: Path, *options: str) -> dict[str, FloatArray]:
    """The rows of a folder that the package of an interpreter grades; raises CalledProcessError unless all are."""
    line = command(data.absolute(), out.absolute(), *options, python=python)
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run(line, check=True, cwd=out, env=environment())  # a checkout in the working folder would come first
    return load_submission(out / "submission.csv")


def versions_of(python: Path, names: Sequence[str] = SHOWN) -> dict[str, str]:
    """The versions of an interpreter and of packages installed for it."""
    shown = subprocess.run([python, "-c", VERSIONS, *names], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(shown.stdout)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, grade, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="from `make wheel`")
    parser.add_argument("sets", nargs="+", metavar="SET=PYTHON", help=f"one of {', '.join(VERSION_SETS)}")
    parser.add_argument("--data", type=Path, help="folder of studies to grade (default: phantoms)")
    parser.add_argument("--studies", type=int, default=4, help="phantoms to grade (default: 4)")
    parser.add_argument("--cache", type=Path, default=Path("build/versions"))
    chosen = parser.parse_args(arguments)
    sets = dict(item.partition("=")[::2] for item in chosen.sets)
    if wrong := [name for name, interpreter in sets.items() if name not in VERSION_SETS or not interpreter]:
        parser.error(f"{wrong[0]!r}: write {' or '.join(VERSION_SETS)} with an interpreter, such as kaggle=python3.12")
    if not chosen.wheel.is_file():
        parser.error(f"no wheel at {chosen.wheel}; `make wheel` builds it")
    data = chosen.data or dataset(chosen.cache, studies=chosen.studies)
    print(table_head("set", "Python", *SHOWN, "largest difference"))
    expected = graded(Path(sys.executable), data, chosen.cache / "this")
    print(table_row("this", *versions_of(Path(sys.executable)).values(), "–"), flush=True)
    for name, interpreter in sets.items():
        folder = chosen.cache / name
        install(folder, interpreter, VERSION_SETS[name], chosen.wheel.absolute())
        difference = largest_difference(expected, graded(python_of(folder), data, folder / "out"))
        print(table_row(name, *versions_of(python_of(folder)).values(), f"{difference:.6f}"), flush=True)


if __name__ == "__main__":
    main()
