"""Every line of the kernel that an accelerator runs, on a device of this machine: `python -m benchmarks.gpu_check`.

Prints a table: does the device compute as the processor does, how fast is each network,
what do whole runs give, and how busy is the device in them. It is meant for a machine that is lent for minutes: the
phantoms are made on all cores beside the imports, every row is printed and written at once, and what no longer fits
into the time is left out and named. On a processor the same lines run with fewer pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import starmap
from pathlib import Path

from benchmarks.speed.data import dataset
from benchmarks.speed.observed import ObservedRun, observe
from benchmarks.speed.utilisation import watched_utilisation
from benchmarks.whole_runs import largest_difference
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results.submission import load_submission
from lumbar_kernel.runtime.devices import AUTO, CPU, device_fault, find_devices

GRADE_TOLERANCE = 1e-3
"""Largest difference of a grade from the processor's; both compute in single precision."""

STUDIES, MANY = 40, 320
"""Phantoms of a run that is compared with the processor, and of one long enough for a rate, which holds the same 40
again and again."""

MIN_RATE = 15.0
"""Studies a second that the long run is expected to grade at least after its start, to decide whether it still fits: an
H200 with 16 cores graded 24.6."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was checked, whether it is as it must be, and what was measured."""

    check: str
    passed: bool
    measured: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        cache: folder for the phantoms.
        studies: of the run that is compared, and of the long one; 0 for no long run.
        weights: folder with a manifest, None for the package's own.
        deadline: reading of the monotonic clock after which nothing new is begun.
    """

    cache: Path
    studies: tuple[int, int]
    weights: Path | None
    deadline: float

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    @property
    def options(self) -> tuple[str, ...]:
        """Options of `lumbar-kernel predict`."""
        return ("--weights", str(self.weights)) if self.weights else ()


def check_device(name: str, plan: Plan, phantoms: Callable[[], object] = lambda: None) -> Iterator[Row]:
    """All checks of one device; `phantoms` waits until the studies are there."""
    from benchmarks.speed.accelerated import check_networks  # brings torch, while the phantoms are made

    began = time.monotonic()
    fault = device_fault(name) if name != CPU else None
    yield Row("a convolution", fault is None, fault or "as on the processor", {"seconds": time.monotonic() - began})
    if fault is not None:
        return
    began = time.monotonic()
    phantoms()
    yield Row("phantoms", True, f"{time.monotonic() - began:.1f} s more to wait for them", {})
    yield from starmap(Row, check_networks(name, plan.weights))
    yield from _whole_runs(name, plan)


def _whole_runs(name: str, plan: Plan) -> Iterator[Row]:
    """A run on the device, a long one, watched, and one on the processor, whose grades the first must have."""
    few, many = plan.studies
    data, out = dataset(plan.cache, studies=few), plan.cache / "out"
    short = observe(data, out, "--device", name, *plan.options)
    grades = load_submission(out / "submission.csv")
    if many and plan.left < short.seconds + (many - few) / MIN_RATE:
        yield Row(f"{many} studies", True, f"left out: {plan.left:.0f} s are left", {})
    elif many:
        yield from _watched(name, short, plan)
    yield _compared(name, short, grades, plan)


def _watched(name: str, short: ObservedRun, plan: Plan) -> Iterator[Row]:
    """The rate of a long run, and how busy the device is in it."""
    data, out = dataset(plan.cache, studies=plan.studies[1]), plan.cache / "out"
    with watched_utilisation() as busy:
        began = time.monotonic()
        long = observe(data, out, "--device", name, *plan.options)
    yield _rated(name, long, short, plan)
    share = busy.mean(began + long.start_seconds, began + long.seconds) if name != CPU else None
    if share is None:
        yield Row("busy share of the device", True, "not measured: the driver does not tell", {})
    else:
        whole = busy.mean(began, began + long.seconds) or 0.0
        text = f"{share:.0%} from the first grades to the end, {whole:.0%} of the whole run"
        yield Row("busy share of the device", True, text, {"busy_share": share, "busy_share_of_run": whole})


def _compared(name: str, run: ObservedRun, grades: Mapping[str, FloatArray], plan: Plan) -> Row:
    """The grades of a run beside those of the processor."""
    few, out = plan.studies[0], plan.cache / "out"
    processor = observe(dataset(plan.cache, studies=few), out, "--device", CPU, *plan.options)
    expected = load_submission(out / "submission.csv")
    difference = largest_difference(grades, expected)
    text = (
        f"{run.seconds:.1f} s, first grades after {run.start_seconds:.1f} s, processor {processor.seconds:.1f} s; "
        f"grades within {difference:.1e} of the processor's"
    )
    figures = {
        "seconds": run.seconds,
        "start_seconds": run.start_seconds,
        "processor_seconds": processor.seconds,
        "difference": difference,
    }
    return Row(f"{few} studies, processor too", _is_whole(name, run) and difference <= GRADE_TOLERANCE, text, figures)


def _rated(name: str, run: ObservedRun, short: ObservedRun, plan: Plan) -> Row:
    """Studies a second of a long run: in all, and of the studies that it had more than the short one."""
    few, many = plan.studies
    whole, further = many / run.seconds, (many - few) / max(run.seconds - short.seconds, 1e-3)
    text = f"{run.seconds:.1f} s: {whole:.1f} studies a second, start included; {further:.1f} beyond {few} studies"
    figures = {
        "seconds": run.seconds,
        "studies_per_second": whole,
        "further_studies_per_second": further,
        **{f"stage: {stage}": seconds for stage, seconds in run.report["stages"].items()},
    }
    return Row(f"{many} studies", _is_whole(name, run), text, figures)


def _is_whole(name: str, run: ObservedRun) -> bool:
    return run.report["device"] == name and not run.report["failures"]


def _all_phantoms(plan: Plan) -> None:
    for studies in filter(None, plan.studies):
        dataset(plan.cache, studies=studies)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of every device that is asked for; returns 1 where a check failed."""
    began = time.monotonic()
    chosen = _parser().parse_args(arguments)
    plan = Plan(chosen.cache, (chosen.studies, chosen.many), chosen.weights, began + chosen.seconds)
    table: dict[str, list[Row]] = {}
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(_all_phantoms, plan)
        found = find_devices(chosen.device)
        for name, reason in found.broken.items():
            _add(table, name, Row("found", False, reason, {}), chosen.json)
        for name in dict.fromkeys(found.working):
            for row in check_device(name, plan, made.result):
                _add(table, name, row, chosen.json)
    print(f"{time.monotonic() - began:.0f} s in all", flush=True)
    return int(not all(row.passed for rows in table.values() for row in rows))


def _add(table: dict[str, list[Row]], name: str, row: Row, file: Path | None) -> None:
    """Print a row and write the table as it stands, so that a machine that is taken back leaves what it measured."""
    table.setdefault(name, []).append(row)
    print(f"{name:<8}{'ok' if row.passed else 'WRONG':<7}{row.check:<40}{row.measured}", flush=True)
    if file:
        entry = {name: [asdict(row) for row in rows] for name, rows in table.items()}
        file.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=AUTO, help="as of lumbar-kernel predict (default: auto)")
    parser.add_argument("--studies", type=int, default=STUDIES, help=f"phantoms graded twice (default: {STUDIES})")
    parser.add_argument("--many", type=int, default=MANY, help=f"studies of the long run, 0 for none (default: {MANY})")
    parser.add_argument("--seconds", type=float, default=300.0, help="begin nothing new after so long (default: 300)")
    parser.add_argument("--weights", type=Path, help="folder with manifest.json (default: the package's own)")
    parser.add_argument("--cache", type=Path, default=Path("cache-bench"), help="folder for the phantoms")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table, row by row")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
