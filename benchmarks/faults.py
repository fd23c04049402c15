"""Whether the promise holds: `python -m benchmarks.faults kills|budgets`.

`kills` sends SIGKILL to the whole process group of a run at random moments, checks what lies on disk, resumes, and
compares the end with that of an undisturbed run. `budgets` gives runs ever more seconds, from none to ample, and
measures how much of the deadline was left and how good the grades are.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.check import check_submission
from lumbar_kernel.metric import load_solution, load_submission, score
from lumbar_kernel.phantom import write_dataset

SEED = 900
FIRST_FILE_LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """One command line run to its end: seconds of the whole process and its exit code."""

    seconds: float
    exit_code: int


def command(data: Path, out: Path, *options: str) -> list[str]:
    """The command line of a quiet run."""
    return [sys.executable, "-m", "lumbar_kernel", "predict", str(data), "--out", str(out), "--quiet", *options]


def run_through(data: Path, out: Path, *options: str) -> Run:
    """A run left alone."""
    began = time.monotonic()
    done = subprocess.run(command(data, out, *options), check=False, capture_output=True)
    return Run(time.monotonic() - began, done.returncode)


def kill_within(data: Path, out: Path, delay: float, *options: str) -> bool:
    """Start a run and kill its process group so many seconds after its first file; whether it was still at work."""
    process = subprocess.Popen(
        command(data, out, *options), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + FIRST_FILE_LIMIT_SECONDS
    while not (out / "submission.csv").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    at_work = process.poll() is None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return at_work


def is_valid(submission: Path, data: Path) -> bool:
    """Whether a complete, valid submission lies there."""
    try:
        return check_submission(submission, data) > 0
    except (OSError, ValueError):
        return False


def kills(data: Path, folder: Path, *, count: int, seed: int = 0) -> dict[str, int | float]:
    """Kill runs at random moments; count valid submissions, and resumed runs that end as the undisturbed one."""
    undisturbed = run_through(data, folder / "undisturbed")
    wanted = (folder / "undisturbed" / "submission.csv").read_bytes()
    rng = np.random.default_rng(seed)
    found: dict[str, int | float] = dict.fromkeys(("kills", "valid", "resumed_identical"), 0)
    for number in range(count):
        out = folder / f"killed_{number}"
        if not kill_within(data, out, float(rng.uniform(0, undisturbed.seconds))):
            continue  # it was done before its time; nothing was killed
        found["kills"] += 1
        found["valid"] += is_valid(out / "submission.csv", data)
        run_through(data, out, "--resume")
        found["resumed_identical"] += (out / "submission.csv").read_bytes() == wanted
    return found | {"undisturbed_seconds": round(undisturbed.seconds, 1)}


def budgets(data: Path, folder: Path, *, seconds: Sequence[float]) -> list[dict[str, float | bool]]:
    """For each budget: seconds of the whole process, what was left, exit code, and the score of the grades."""
    solution = load_solution(data / "truth.csv")
    table = []
    for number, limit in enumerate(seconds):
        out = folder / f"budget_{number}"
        run = run_through(data, out, "--seconds", str(limit))
        graded = sum(item["graded_rows"] > 0 for item in json.loads((out / "report.json").read_text())["studies"])
        table.append(
            {
                "budget": limit,
                "seconds": round(run.seconds, 2),
                "left": round(limit - run.seconds, 2),
                "exit_code": run.exit_code,
                "valid": is_valid(out / "submission.csv", data),
                "graded": graded,
                "score": round(score(solution, load_submission(out / "submission.csv")).mean, 4),
            }
        )
    return table


def main() -> None:
    """Make phantoms, break runs, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "budgets"))
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--count", type=int, default=300, help="kills, or steps of the budget")
    parser.add_argument("--most", type=float, default=300.0, help="largest budget, seconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "data", studies=arguments.studies, seed=SEED, workers=2)
        if arguments.what == "kills":
            print(json.dumps(kills(folder / "data", folder, count=arguments.count), indent=1))
            return
        steps = [round(float(value), 1) for value in np.linspace(0, arguments.most, arguments.count)]
        rows = budgets(folder / "data", folder, seconds=steps)
        print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
        for row in rows:
            print(f"| {' | '.join(map(str, row.values()))} |")


if __name__ == "__main__":
    main()
