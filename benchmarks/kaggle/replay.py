"""Runs the notebook as Kaggle does: either mount layout, the wheel alone, no network, a hard limit on the time.

    python -m benchmarks.kaggle.replay [--data FOLDER] [--layout new|flat] [--studies 722] [--rerun]

Without data it grades phantom studies. What the notebook leaves is kept in `out/replay/<layout>/`, and the end is
reported as Kaggle's own status message. The notebook gets two cells of ours: one in front that fails where the network
is on, one behind that fails when the package came from anywhere but the wheel.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbconvert import HTMLExporter

from benchmarks.kaggle import offline
from benchmarks.kaggle.check import check_submission
from benchmarks.kaggle.multiply import HIDDEN_STUDIES, multiply
from lumbar_kernel.phantom import write_dataset
from lumbar_kernel.schema import ROWS

ROOT = offline.ROOT
COMPETITION = "rsna-2024-lumbar-spine-degenerative-classification"
LAYOUTS = {
    "new": (f"competitions/{COMPETITION}", "datasets/owner/lumbar-kernel-wheel"),
    "flat": (COMPETITION, "lumbar-kernel-wheel"),
}
"""Where Kaggle mounts the competition and the dataset; both layouts are seen in 2026."""
NEVER_UPLOADED = "dataset-metadata.json"
PHANTOM_STUDIES = 2
KERNEL = "lumbar-replay"
TAG = "replay"
KILL_SECONDS = 3.0
EXECUTED = "__notebook__.ipynb"
"""Name under which the platform saves the notebook with its outputs."""

THREW, NOT_FOUND, SCORING_ERROR, TIMEOUT = (
    "Notebook Threw Exception",
    "Submission CSV Not Found",
    "Submission Scoring Error",
    "Notebook Timeout",
)
"""How the platform names the ways in which a submission fails."""


class ReplayError(Exception):
    """The submission would fail.

    Args:
        status: Kaggle's own message.
        cause: what happened.
    """

    def __init__(self, status: str, cause: str) -> None:
        super().__init__(f"{status}: {cause}")
        self.status = status


@dataclass(frozen=True)
class Replay:
    """What a replay left behind: the working folder, the executed notebook and the seconds it took."""

    working: Path
    notebook: Path
    seconds: float


def mount_inputs(root: Path, data: Path, dataset: Path, *, layout: str, unpacked: bool = False) -> None:
    """Mount the competition's folder and the dataset below `root` by links.

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
    probes = f"{offline.PROBE}\n{offline.CHILD_PROBE}"
    origin = (
        f"import {offline.PACKAGE} as package\nassert package.__file__.startswith({str(scratch)!r}), package.__file__"
    )
    front, behind = (nbformat.v4.new_code_cell(source, metadata={"tags": [TAG]}) for source in (probes, origin))
    notebook = copy.deepcopy(notebook)
    notebook.cells = [front, *notebook.cells, behind]
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
    rerun: bool = False,
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
        rerun: set the variable by which a notebook knows that it is the hidden rerun.
        cap: seconds after which the notebook and all its children are killed.

    Raises:
        ReplayError: a cell failed, the time was up or there is no submission; a cell's error comes with the log's end.
    """
    environment, working = scratch / "environment", scratch / "working"
    offline.make_environment(environment)
    python = offline.python_of(environment)
    mount_inputs(scratch / "input", data, dataset, layout=layout, unpacked=unpacked)
    working.mkdir()
    source, executed, log = scratch / "notebook.ipynb", working / EXECUTED, scratch / "log.txt"
    nbformat.write(instrument(notebook, scratch), source)
    _write_kernel(scratch / "jupyter", python)
    script = Path(__file__).with_name("execute.py")
    options = ["--kernel", KERNEL, "--parameters", json.dumps(parameters or {})]
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            offline.without_network([python, script, source, executed, *options]),
            cwd=working,
            env=offline.environment(_variables(scratch, rerun=rerun)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        status = _wait(process, cap)
    seconds = time.monotonic() - began
    end = log.read_text(encoding="utf-8")[-4000:]
    if status is None:
        raise ReplayError(TIMEOUT, f"the notebook was killed after {cap:.0f} s:\n{end}")
    if status != 0:
        raise ReplayError(THREW, f"the notebook failed with exit code {status}:\n{end}")
    return Replay(working=working, notebook=executed, seconds=seconds)


def _variables(scratch: Path, *, rerun: bool) -> dict[str, str]:
    """What the environment tells the notebook about the platform."""
    variables = {
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "LUMBAR_INPUT_ROOT": str(scratch / "input"),
        "LUMBAR_WORKING": str(scratch / "working"),
        "JUPYTER_PATH": str(scratch / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "IPYTHONDIR": str(scratch / "ipython"),
    }
    return variables | ({"KAGGLE_IS_COMPETITION_RERUN": "1"} if rerun else {})


def _wait(process: subprocess.Popen[bytes], cap: float) -> int | None:
    """The exit code of a process, None when it and all its children were killed because the time was up.

    Kernels lead sessions of their own, so that a signal to the group would miss them.
    """
    try:
        return process.wait(timeout=cap)
    except subprocess.TimeoutExpired:
        leader = psutil.Process(process.pid)
        family = [*leader.children(recursive=True), leader]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()
        psutil.wait_procs(family, timeout=KILL_SECONDS)
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
    write_dataset(folder, studies=PHANTOM_STUDIES, seed=0, progress=True)
    return folder


def check(done: Replay, data: Path) -> int:
    """The number of rows of a valid submission; raises ReplayError for none or another."""
    submission = done.working / "submission.csv"
    if not submission.is_file():
        raise ReplayError(NOT_FOUND, "the notebook ended and left no submission.csv in its working folder")
    try:
        return check_submission(submission, data)
    except (ValueError, OSError) as error:
        raise ReplayError(SCORING_ERROR, str(error)) from error


def keep_outputs(scratch: Path, folder: Path) -> None:
    """Copy what a replay left to a folder, which is replaced: working folder, log, notebook as .ipynb and .html."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(scratch / "working", folder)
    shutil.copyfile(scratch / "log.txt", folder / "log.txt")
    executed = folder / EXECUTED
    if executed.is_file():
        page, _ = HTMLExporter(embed_images=True).from_filename(str(executed))
        (folder / "notebook.html").write_text(page, encoding="utf-8")
        executed.rename(folder / "notebook.ipynb")


def main() -> int:
    """Replay the notebook, report as Kaggle would how the submission ends; returns 1 where it fails."""
    arguments = _parser().parse_args()
    kept = arguments.out / arguments.layout
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data = arguments.data or make_phantoms(scratch / "phantoms")
        if arguments.studies:
            data = multiply(data, scratch / "multiplied", studies=arguments.studies)
        notebook = nbformat.read(ROOT / "inference.ipynb", as_version=4)
        options = {name: getattr(arguments, name) for name in ("layout", "unpacked", "rerun", "cap")}
        try:
            done = replay(scratch, notebook, data, arguments.dataset, parameters={"HOURS": arguments.hours}, **options)
            rows = check(done, data)
        except ReplayError as error:
            print(f"replay ({arguments.layout}): {error}", file=sys.stderr)
            return 1
        finally:
            if (scratch / "working").is_dir():
                keep_outputs(scratch, kept)
                print(f"notebook, log and results: {kept}")
    network = "namespace and guard" if offline.namespace() else "guard alone"
    print(f"replay ({arguments.layout}): would be scored: {rows} valid rows, network off by {network}")
    print(_margin(done.seconds, rows // len(ROWS), arguments.hours))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run inference.ipynb as Kaggle does.")
    parser.add_argument("--data", type=Path, help="folder in the competition's layout; phantom studies by default")
    parser.add_argument("--dataset", type=Path, default=ROOT / "dist" / "kaggle-dataset")
    parser.add_argument("--layout", choices=LAYOUTS, default="new")
    parser.add_argument("--unpacked", action="store_true", help="mount the wheel as an unpacked folder")
    parser.add_argument("--rerun", action="store_true", help="the hidden rerun instead of a run of your own")
    parser.add_argument(
        "--studies", type=int, help=f"repeat the studies up to N; the hidden set has {HIDDEN_STUDIES}", metavar="N"
    )
    parser.add_argument("--hours", type=float, default=8.0, help="budget that the notebook is given")
    parser.add_argument("--cap", type=float, default=1800.0, help="seconds until the notebook is killed")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "replay", help="gets a folder named as the layout")
    return parser


def _margin(seconds: float, studies: int, hours: float) -> str:
    """A sentence on the time taken, and on what the hidden set would take at the same speed."""
    hidden = seconds / studies * HIDDEN_STUDIES / 3600
    return (
        f"{seconds:.1f} s for {studies} studies; {HIDDEN_STUDIES} at this speed take {hidden:.2f} of {hours:g} hours, "
        "the start counted with each"
    )


if __name__ == "__main__":
    raise SystemExit(main())
