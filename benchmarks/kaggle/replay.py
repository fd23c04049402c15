"""Runs the notebook as Kaggle does: either mount layout, the wheel alone, no network, a hard limit on the time.

    python -m benchmarks.kaggle.replay [--data FOLDER] [--layout new|flat] [--unpacked] [--hours H] [--cap SECONDS]

Without data it grades phantom studies. The notebook gets two cells of ours: one in front that fails where the network
is on, one behind that fails when the package came from anywhere but the wheel.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil

from benchmarks.kaggle import offline
from benchmarks.kaggle.check import check_submission

ROOT = offline.ROOT
COMPETITION = "rsna-2024-lumbar-spine-degenerative-classification"
LAYOUTS = {
    "new": (f"competitions/{COMPETITION}", "datasets/owner/lumbar-kernel-wheel"),
    "flat": (COMPETITION, "lumbar-kernel-wheel"),
}
"""Where Kaggle mounts the competition and the data set; both layouts are seen in 2026."""
NEVER_UPLOADED = "dataset-metadata.json"
PHANTOM_STUDIES = 2
KERNEL = "lumbar-replay"
TAG = "replay"


class ReplayError(Exception):
    """The notebook failed, took too long or left no valid submission."""


@dataclass(frozen=True)
class Replay:
    """What a replay left behind: the working folder, the executed notebook and the seconds it took."""

    working: Path
    notebook: Path
    seconds: float


def mount_inputs(root: Path, data: Path, dataset: Path, *, layout: str, unpacked: bool = False) -> None:
    """Mount the competition's folder and the data set below `root` by links.

    Args:
        root: becomes /kaggle/input.
        data: folder in the competition's layout.
        dataset: what `build_wheel.py` made for the upload.
        layout: a key of `LAYOUTS`.
        unpacked: show the wheel as a folder, as Kaggle unpacks archives.
    """
    competition, attached = (root / place for place in LAYOUTS[layout])
    competition.parent.mkdir(parents=True, exist_ok=True)
    competition.symlink_to(data.resolve())
    attached.mkdir(parents=True)
    for path in sorted(dataset.iterdir()):
        if unpacked and path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                wheel.extractall(attached / path.stem)
        elif path.name != NEVER_UPLOADED:
            (attached / path.name).symlink_to(path.resolve())


def instrument(notebook: nbformat.NotebookNode, scratch: Path) -> nbformat.NotebookNode:
    """Add the two cells that assert what the replay promises: no network, and the package of the wheel alone."""
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {offline.PROBE!r}], check=True)"
    origin = (
        f"import {offline.PACKAGE} as package\nassert package.__file__.startswith({str(scratch)!r}), package.__file__"
    )
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"{offline.PROBE}\n{child}", metadata={"tags": [TAG]}))
    notebook.cells.append(nbformat.v4.new_code_cell(origin, metadata={"tags": [TAG]}))
    return notebook


def replay(
    scratch: Path,
    notebook: nbformat.NotebookNode,
    data: Path,
    dataset: Path,
    *,
    layout: str = "new",
    unpacked: bool = False,
    parameters: dict[str, Any] | None = None,
    cap: float = 1800.0,
) -> Replay:
    """Execute a notebook in a fresh environment with nothing but the mounts.

    Args:
        scratch: empty folder for the mounts, the environment and the working folder.
        notebook: executed with the cells of `instrument` around it.
        data: folder in the competition's layout.
        dataset: what `build_wheel.py` made for the upload.
        layout: a key of `LAYOUTS`.
        unpacked: show the wheel as a folder.
        parameters: replace those of the notebook.
        cap: seconds after which the notebook and all its children are killed.

    Raises:
        ReplayError: a cell failed or the time was up; the message holds the end of the notebook's log.
    """
    thin, mounts, working = scratch / "environment", scratch / "input", scratch / "working"
    offline.make_thin(thin)
    mount_inputs(mounts, data, dataset, layout=layout, unpacked=unpacked)
    working.mkdir()
    source, executed = scratch / "notebook.ipynb", working / "__notebook__.ipynb"
    nbformat.write(instrument(notebook, scratch), source)
    _write_kernel(scratch / "jupyter", offline.thin_python(thin))
    variables = {
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "LUMBAR_INPUT_ROOT": str(mounts),
        "LUMBAR_WORKING": str(working),
        "JUPYTER_PATH": str(scratch / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "IPYTHONDIR": str(scratch / "ipython"),
    }
    script = Path(__file__).with_name("execute.py")
    options = ["--kernel", KERNEL, "--parameters", json.dumps(parameters or {})]
    began = time.monotonic()
    with (scratch / "log.txt").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            offline.without_network([offline.thin_python(thin), script, source, executed, *options]),
            cwd=working,
            env=offline.environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        status = _wait(process, cap)
        seconds = time.monotonic() - began
        log.seek(0)
        log = log.read()[-4000:]
    if status != 0:
        reason = f"was killed after {cap:.0f} s" if status is None else f"failed with exit code {status}"
        msg = f"the notebook {reason}:\n{log}"
        raise ReplayError(msg)
    return Replay(working=working, notebook=executed, seconds=seconds)


def _wait(process: subprocess.Popen[bytes], cap: float) -> int | None:
    """The exit code of a process, None when it and all its children were killed because the time was up.

    Kernels lead sessions of their own, so that a signal to the group would miss them.
    """
    try:
        return process.wait(timeout=cap)
    except subprocess.TimeoutExpired:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for member in family:
            try:
                member.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        process.wait()
        return None


def _write_kernel(folder: Path, python: Path) -> None:
    """A kernel specification that runs one interpreter, independent of the kernels installed on this machine."""
    home = folder / "kernels" / KERNEL
    home.mkdir(parents=True)
    call = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": call, "display_name": KERNEL, "language": "python"}
    (home / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")


def make_phantoms(folder: Path) -> Path:
    """Phantom studies in the competition's layout."""
    options = ["--studies", str(PHANTOM_STUDIES), "--seed", "0", "--split", "test"]
    subprocess.run([sys.executable, "-m", offline.PACKAGE, "phantom", str(folder), *options], check=True)
    return folder


def main() -> int:
    """Replay the notebook and check what it left; returns 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description="Run inference.ipynb as Kaggle does.")
    parser.add_argument("--data", type=Path, help="folder in the competition's layout; phantom studies by default")
    parser.add_argument("--dataset", type=Path, default=ROOT / "dist" / "kaggle-dataset")
    parser.add_argument("--layout", choices=LAYOUTS, default="new")
    parser.add_argument("--unpacked", action="store_true", help="mount the wheel as an unpacked folder")
    parser.add_argument("--hours", type=float, default=8.0, help="budget that the notebook is given")
    parser.add_argument("--cap", type=float, default=1800.0, help="seconds until the notebook is killed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data = arguments.data or make_phantoms(scratch / "phantoms")
        notebook = nbformat.read(ROOT / "inference.ipynb", as_version=4)
        try:
            done = replay(
                scratch,
                notebook,
                data,
                arguments.dataset,
                layout=arguments.layout,
                unpacked=arguments.unpacked,
                parameters={"HOURS": arguments.hours},
                cap=arguments.cap,
            )
            rows = check_submission(done.working / "submission.csv", data)
        except (ReplayError, OSError, ValueError) as error:
            print(f"replay: {error}", file=sys.stderr)
            return 1
    network = "namespace and guard" if offline.namespace() else "guard alone"
    print(f"replay ({arguments.layout}): {rows} valid rows in {done.seconds:.1f} s, network off by {network}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
