"""Robustness of whole runs: `python -m benchmarks.robustness.faults kills|budgets|faults`.

`kills` sends SIGKILL to the whole process group of a run at random moments, checks the files on disk, resumes until
the next kill, and compares the result with that of an undisturbed run. `budgets` gives runs increasing budgets, from no
time to ample, and measures the time left and the score. `faults` makes every stage raise, hang, return NaN, run out of
memory or die, for one study and for all, and checks that the file is valid, that the report names stage and study with
a cause, and that the other studies keep their bytes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.kaggle.check import check_submission
from benchmarks.tables import table_head, table_row
from benchmarks.whole_runs import command
from lumbar_kernel.phantom import write_dataset
from lumbar_kernel.results.metric import load_solution, score
from lumbar_kernel.results.submission import load_submission
from lumbar_kernel.runtime.fault_injection import NAN, VARIABLE

SEED = 900
FIRST_FILE_LIMIT_SECONDS = 60.0

STAGES = ("read", "localise", "axial", "crop", "grade axial_t2", "grade foraminal_t1_lite")
"""The stages of a study, with one member of the first pass and one of the later passes."""

FAULTS = ("raise", "hang", NAN, "memory", "kill")

IMPOSSIBLE = (("crop", NAN),)
"""Crops are bytes, which are never NaN."""


@dataclass(frozen=True)
class Run:
    """One command line run to its end: seconds of the whole process and its exit code."""

    seconds: float
    exit_code: int


def run_through(data: Path, out: Path, *options: str, environment: Mapping[str, str] | None = None) -> Run:
    """A run left alone, with additions to the environment."""
    began = time.monotonic()
    surroundings = {**os.environ, **(environment or {})}
    done = subprocess.run(command(data, out, *options), check=False, capture_output=True, env=surroundings)
    return Run(time.monotonic() - began, done.returncode)


def kill_within(data: Path, out: Path, delay: float, *options: str) -> bool:
    """Start a run, kill its process group so many seconds after its first file; whether it was still running."""
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
    """Whether the folder holds a complete, valid submission."""
    try:
        return check_submission(submission, data) > 0
    except (OSError, ValueError):
        return False


def kills(
    data: Path, folder: Path, *, count: int, longest: float = 15.0, seed: int = 0, options: Sequence[str] = ()
) -> dict[str, int | float]:
    """Kill runs and what resumes them, each at a random moment, until that many are dead.

    A run is killed at most `longest` seconds after its first file and resumed into the same fate until one comes
    through; that one should leave the bytes of an undisturbed run.

    Returns:
        Kills, valid submissions found after them, runs that came through in the end, and how many of these left the
        bytes of the undisturbed one.
    """
    undisturbed = run_through(data, folder / "undisturbed", *options)
    wanted = (folder / "undisturbed" / "submission.csv").read_bytes()
    rng = np.random.default_rng(seed)
    found: dict[str, int | float] = dict.fromkeys(("kills", "valid", "ended", "ended_identical"), 0)
    while not found["ended"] or found["kills"] < count:
        out = folder / f"killed_{found['ended']}"
        while found["kills"] < count and kill_within(data, out, float(rng.uniform(0, longest)), "--resume", *options):
            found["kills"] += 1
            found["valid"] += is_valid(out / "submission.csv", data)
        run_through(data, out, "--resume", *options)
        found["ended"] += 1
        found["ended_identical"] += (out / "submission.csv").read_bytes() == wanted
    return found | {"undisturbed_seconds": round(undisturbed.seconds, 1)}


def budgets(
    data: Path, folder: Path, *, seconds: Sequence[float], options: Sequence[str] = ()
) -> Iterator[dict[str, float | bool]]:
    """For each budget: seconds of the whole process, what was left, exit code, and the score of the grades."""
    solution = load_solution(data / "truth.csv")
    for number, limit in enumerate(seconds):
        out = folder / f"budget_{number}"
        run = run_through(data, out, "--seconds", str(limit), *options)
        graded = sum(item["graded_rows"] > 0 for item in json.loads((out / "report.json").read_text())["studies"])
        yield {
            "budget": limit,
            "seconds": round(run.seconds, 2),
            "left": round(limit - run.seconds, 2),
            "exit_code": run.exit_code,
            "valid": is_valid(out / "submission.csv", data),
            "graded": graded,
            "score": round(score(solution, load_submission(out / "submission.csv")).mean, 4),
        }


def faults(
    data: Path,
    folder: Path,
    *,
    stages: Sequence[str] = STAGES,
    kinds: Sequence[str] = FAULTS,
    options: Sequence[str] = (),
) -> Iterator[dict[str, object]]:
    """For each stage, kind of fault and either one study or all: what the run left."""
    run_through(data, folder / "undisturbed", *options)
    wanted = by_study(folder / "undisturbed" / "submission.csv")
    names = list(wanted)
    pairs = [pair for pair in itertools.product(stages, kinds) if pair not in IMPOSSIBLE]
    for number, ((stage, kind), chosen) in enumerate(itertools.product(pairs, ([names[len(names) // 2]], names))):
        out = folder / f"fault_{number}"
        study = chosen[0] if len(chosen) == 1 else "*"
        run = run_through(data, out, *options, environment={VARIABLE: f"{stage}:{kind}:{study}"})
        graded = by_study(out / "submission.csv")
        yield {
            "stage": stage,
            "kind": kind,
            "studies": len(chosen),
            "valid": is_valid(out / "submission.csv", data),
            "named": is_named(stage, chosen, out / "report.json"),
            "others_same": all(graded[name] == wanted[name] for name in names if name not in chosen),
            "exit_code": run.exit_code,
            "seconds": round(run.seconds, 1),
        }


def by_study(submission: Path) -> dict[str, list[str]]:
    """The lines of each study, in the order of the file."""
    found: dict[str, list[str]] = {}
    for line in submission.read_text(encoding="utf-8").splitlines()[1:]:
        found.setdefault(line.partition("_")[0], []).append(line)
    return found


def is_named(stage: str, studies: Sequence[str], report: Path) -> bool:
    """Whether a report names the stage for each of these studies, or its member as left out, with a cause."""
    entry = json.loads(report.read_text(encoding="utf-8"))
    if entry["members_failed"].get(stage.removeprefix("grade ")):
        return True
    entries = {item["study_id"]: item for item in entry["studies"]}
    messages_of = [[f["message"] for f in entries[study]["failures"] if f["stage"] == stage] for study in studies]
    return all(any(messages) for messages in messages_of)


def main() -> int:
    """Generate phantoms, disturb runs, print the results; returns 1 where one is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "budgets", "faults"))
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--count", type=int, default=300, help="kills, or steps of the budget")
    parser.add_argument("--stages", nargs="+", default=STAGES, help="stages to harm")
    parser.add_argument("--study-seconds", default="30", help="when a stage counts as hanging in `faults`")
    parser.add_argument("--most", type=float, default=300.0, help="largest budget, seconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "data", studies=arguments.studies, seed=SEED, workers=2)
        if arguments.what == "kills":
            found = kills(folder / "data", folder, count=arguments.count)
            print(json.dumps(found, indent=1))
            return int(found["valid"] < found["kills"] or found["ended_identical"] < found["ended"])
        if arguments.what == "faults":
            limit = ("--study-seconds", arguments.study_seconds)
            cases = list(print_table(faults(folder / "data", folder, stages=arguments.stages, options=limit)))
            wrong = [case for case in cases if not (case["valid"] and case["named"] and case["others_same"])]
            print(f"\n{len(cases)} cases; not valid, not named or not contained: {len(wrong)}")
            return int(bool(wrong))
        steps = [round(float(value), 1) for value in np.linspace(0, arguments.most, arguments.count)]
        rows = list(print_table(budgets(folder / "data", folder, seconds=steps)))
        print(summary(rows))
        return int(not all(row["valid"] for row in rows) or any(row["left"] < 0 for row in able(rows)))


def able(rows: Sequence[Mapping[str, float | bool]]) -> list[Mapping[str, float | bool]]:
    """Those whose budget is longer than the first run, which gets no time: a process cannot end before it started."""
    return [row for row in rows if row["budget"] > rows[0]["seconds"]]


def summary(rows: Sequence[Mapping[str, float | bool]]) -> str:
    """What budgets came to: runs past their deadline, the smallest margin, and the worst step back of the score."""
    counted = able(rows)
    late = sum(row["left"] < 0 for row in counted)
    scores = [row["score"] for row in rows]
    back = max(score - min(scores[: index + 1]) for index, score in enumerate(scores))
    margin = f", smallest margin {min(row['left'] for row in counted)} s" if counted else ""
    return (
        f"\n{len(rows)} budgets, {sum(not row['valid'] for row in rows)} without a valid file; of {len(counted)} above"
        f" the {rows[0]['seconds']} s that a run without time takes, {late} late{margin}; the score steps back by at"
        f" most {back:.4f}"
    )


Row = TypeVar("Row", bound=Mapping[str, object])


def print_table(rows: Iterable[Row]) -> Iterator[Row]:
    """Print rows as Markdown, each as soon as it is known, and yield them."""
    for number, row in enumerate(rows):
        if number == 0:
            print(table_head(*row))
        print(table_row(*row.values()), flush=True)
        yield row


if __name__ == "__main__":
    raise SystemExit(main())
