"""Time and memory of whole runs as studies grow, as a table and a plot: `python -m benchmarks.speed.growth`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.speed.data import dataset
from benchmarks.speed.observed import observe

STUDIES = (10, 40, 160, 400)
MAX_MIB = 3 * 1024
"""What a run may take."""

DOTS_PER_INCH = 110


@dataclass(frozen=True)
class Point:
    """What one run took.

    Attributes:
        studies: that it graded.
        seconds: from the start of the process to its end.
        peak_mib: most memory of all its processes at one moment, shared pages counted once (PSS).
        usual_mib: the median of that memory from the first grades on.
    """

    studies: int
    seconds: float
    peak_mib: float
    usual_mib: float


def measure(cache: Path, counts: Sequence[int]) -> list[Point]:
    """One watched run for each number of studies."""
    points = []
    for studies in counts:
        run = observe(dataset(cache, studies=studies), cache / "out", memory=True)
        point = Point(studies, run.seconds, run.peak_mib, run.usual_mib)
        points.append(point)
        memory = f"{point.usual_mib:>8.0f} MiB, at most {point.peak_mib:.0f}"
        print(f"{studies:>5} studies {run.seconds:>8.1f} s {memory}", flush=True)
    return points


def seconds_per_study(points: Sequence[Point]) -> list[float]:
    """Seconds of each further study, between a run and the next larger one."""
    return [
        (larger.seconds - smaller.seconds) / (larger.studies - smaller.studies) for smaller, larger in pairwise(points)
    ]


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw seconds and memory against the number of studies."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    studies = [point.studies for point in points]
    seconds = [point.seconds for point in points]
    slope, start = np.polyfit(studies, seconds, 1)
    line = np.array([0, max(studies)])
    left.plot(line, start + slope * line, color="0.7", label=f"{start:.1f} s + {slope:.2f} s a study")
    left.plot(studies, seconds, "o", color="tab:blue")
    left.set(xlabel="studies", ylabel="seconds", title="time of a whole run", xlim=(0, None), ylim=(0, None))
    left.legend(frameon=False)
    right.axhline(MAX_MIB / 1024, color="0.7", label="most that is allowed")
    right.plot(studies, [point.peak_mib / 1024 for point in points], "o-", color="tab:blue", label="most")
    right.plot(studies, [point.usual_mib / 1024 for point in points], "o-", color="tab:cyan", label="median")
    right.set(xlabel="studies", ylabel="GiB", title="memory of all processes", xlim=(0, None), ylim=(0, None))
    right.legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, draw the plot, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, nargs="+", default=STUDIES, help=f"of each run (default: {STUDIES})")
    parser.add_argument("--cache", type=Path, default=Path("cache-bench"), help="folder for the studies that are kept")
    parser.add_argument("--png", type=Path, metavar="FILE.png", help="draw the plot")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the points")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="draw these points instead of measuring")
    chosen = parser.parse_args(arguments)
    if chosen.from_json:
        points = [Point(**item) for item in json.loads(chosen.from_json.read_text(encoding="utf-8"))]
    else:
        points = measure(chosen.cache, sorted(set(chosen.studies)))
    for each, point in zip(seconds_per_study(points), points[1:], strict=False):
        print(f"up to {point.studies} studies: {each:.3f} s for a further one")
    if chosen.png:
        draw(points, chosen.png)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
