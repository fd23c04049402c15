"""Speed and memory of whole runs: `python -m benchmarks.bench [--studies N] [--json FILE]`.

Every run is a process of its own on the command line. The same studies are also graded by a plain loop over the same
networks, which must give the same grades, and compared with the least time that decoding and arithmetic can take.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.speed.data import dataset
from benchmarks.speed.floor import Floor, floor
from benchmarks.speed.observed import ObservedRun, observe
from benchmarks.speed.reference import plain_loop
from benchmarks.whole_runs import largest_difference
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.results.submission import load_submission
from lumbar_kernel.runtime.sharding import worker_devices
from lumbar_kernel.schema import row_ids

TOLERANCE = 1e-3
"""Largest difference of a probability from the plain loop's: batches and folded batch norms round differently."""

PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "pydicom")


@dataclass(frozen=True)
class Bench:
    """The figures of one benchmark.

    Attributes:
        runs: of all studies, without the warm-up.
        part: runs of a part of the studies, for the time of a further one.
        watched: a run whose memory was added up.
        reference_seconds: of the plain loop for all studies, extrapolated where it graded some of them.
        difference: largest difference of a probability from the plain loop's.
        floor: least time of all studies, the median of one beside each run.
        studies: how many, in a run and in a part.
    """

    runs: list[ObservedRun]
    part: list[ObservedRun]
    watched: ObservedRun
    reference_seconds: float
    difference: float
    floor: Floor
    studies: tuple[int, int]

    def figures(self) -> dict[str, float]:
        """The figures by name."""
        seconds, part = _median(self.runs, "seconds"), _median(self.part, "seconds")
        return {
            "reference_ratio": self.reference_seconds / seconds,
            "floor_ratio": seconds / self.floor.seconds,
            "seconds_per_study": (seconds - part) / (self.studies[0] - self.studies[1]),
            "start_seconds": _median(self.runs, "start_seconds"),
            "peak_mib": self.watched.peak_mib,
            "seconds": seconds,
            "seconds_least": min(run.seconds for run in self.runs),
            "seconds_most": max(run.seconds for run in self.runs),
            "first_file_seconds": _median(self.runs, "first_file_seconds"),
            "reference_seconds": self.reference_seconds,
            "reference_difference": self.difference,
            "floor_seconds": self.floor.seconds,
            "floor_decode_seconds": self.floor.decode_seconds,
            "floor_network_seconds": self.floor.network_seconds,
            "studies": self.studies[0],
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables and return 0, or 1 when the plain loop gives other grades."""
    chosen = _parser().parse_args(arguments)
    bench = measure(chosen.cache, studies=chosen.studies, repeats=chosen.repeats, reference=chosen.reference)
    print(text(bench))
    if chosen.json:
        entry = {**bench.figures(), "breakdown": breakdown(bench.runs[0]), "machine": machine()}
        chosen.json.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    return int(bench.difference > TOLERANCE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=40, help="at least 4 (default: 40)")
    parser.add_argument("--repeats", type=int, default=3, help="runs behind each median (default: 3)")
    parser.add_argument("--reference", type=int, default=10, help="studies of the plain loop (default: 10)")
    parser.add_argument("--cache", type=Path, default=Path("cache-bench"), help="folder for the studies that are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser


def measure(cache: Path, *, studies: int, repeats: int, reference: int) -> Bench:
    """Run everything once to warm up, then measure in turns, since other work may slow a machine for minutes."""
    if studies < 4:
        msg = f"need at least 4 studies, not {studies}"
        raise ValueError(msg)
    data, part = dataset(cache, studies=studies), max(2, studies // 4)
    few, out = dataset(cache, studies=part), cache / "out"
    observe(few, out)
    files = find_studies(data)
    runs, parts, floors = [], [], []
    for _ in range(repeats):
        runs.append(observe(data, out))
        floors.append(floor(files, cores=usable_cpus()))
        parts.append(observe(few, out))
    watched = observe(data, out, memory=True)
    grades = load_submission(out / "submission.csv")
    chosen = files[: min(reference, studies)]
    began = time.monotonic()
    by_study = plain_loop(chosen, read_manifest(None))
    reference_seconds = (time.monotonic() - began) * studies / len(chosen)
    expected = {
        row: own
        for study_id, of_study in by_study.items()
        for row, own in zip(row_ids(study_id), of_study, strict=True)
    }
    difference = largest_difference({row: grades[row] for row in expected}, expected)
    middle = sorted(floors, key=lambda item: item.seconds)[repeats // 2]
    return Bench(runs, parts, watched, reference_seconds, difference, middle, (studies, part))


def breakdown(run: ObservedRun) -> dict[str, float]:
    """Seconds of every worker by stage, and what is no stage, so that they add up to workers × seconds of the run."""
    stages, devices = dict(run.report["stages"]), run.report["device"].split(", ")
    workers = len(worker_devices(devices, studies=len(run.report["studies"]), cores=usable_cpus()))
    rest = workers * run.seconds - sum(stages.values())
    return {**stages, "no stage: starts, waits for the first worker, messages, ends": round(rest, 3)}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"cores": usable_cpus(), "python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def text(bench: Bench) -> str:
    """The figures as tables for a terminal."""
    lines = [f"{bench.studies[0]} studies, {len(bench.runs)} runs, {usable_cpus()} cores", ""]
    lines += [f"{name:<24}{value:>10.3f}" for name, value in bench.figures().items()]
    lines += ["", f"{'seconds of all workers':<60}{'':>10}"]
    lines += [f"{name:<60}{value:>10.2f}" for name, value in breakdown(bench.runs[0]).items()]
    return "\n".join(lines)


def _median(runs: Sequence[ObservedRun], name: str) -> float:
    median: float = statistics.median(getattr(run, name) for run in runs)
    return median


if __name__ == "__main__":
    raise SystemExit(main())
