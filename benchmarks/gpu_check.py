"""Every line of the kernel that an accelerator runs, on a device of this machine: `python -m benchmarks.gpu_check`.

Prints a table: does the device compute as the processor does, how fast is each network in single and half precision,
and what does a whole run give. Five minutes at most; on a processor the same lines run with fewer pictures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.data import dataset
from benchmarks.speed.observed import observe
from lumbar_kernel.localisation.axial import WINDOW_SHAPE
from lumbar_kernel.localisation.slice_maps import FRAME
from lumbar_kernel.models.checkpoints import LoadedModels, load_models
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.inference import run_batch
from lumbar_kernel.results.submission import load_submission
from lumbar_kernel.runtime.devices import AUTO, CPU, device_fault, find_devices
from lumbar_kernel.schema import LEVELS
from lumbar_kernel.views import VIEWS

PROBABILITY_TOLERANCE = {False: 1e-3, True: 2e-2}
"""Largest difference of a probability from the processor's, in single and in half precision."""

GRADE_TOLERANCE = 2e-2
SECONDS_EACH = 1.0
PICTURES = {CPU: 8}
"""Pictures at once on a processor; accelerators get `PICTURES_ON_ACCELERATORS`."""

PICTURES_ON_ACCELERATORS = 256


@dataclass(frozen=True)
class Row:
    """One line of the table: what was checked, whether it is as it must be, and what was measured."""

    check: str
    passed: bool
    measured: str


def check_device(name: str, cache: Path, *, studies: int, weights: Path | None = None) -> list[Row]:
    """All checks of one device; `studies` phantoms are graded on it and on the processor."""
    fault = device_fault(name) if name != CPU else None
    rows = [Row("a convolution", fault is None, fault or "as on the processor")]
    if fault is None:
        rows += list(_networks(name, weights))
        rows += list(_whole_runs(name, cache, studies=studies, weights=weights))
    return rows


def _networks(name: str, weights: Path | None) -> Iterator[Row]:
    """Each kind of network against itself on the processor, in both precisions."""
    expected_of = dict(_examples(load_models(weights, CPU)[0], pictures=4))
    models, _ = load_models(weights, name)
    count = PICTURES.get(name, PICTURES_ON_ACCELERATORS)
    many = dict(_examples(models, pictures=count))
    for kind, (net, inputs) in _examples(models, pictures=4):
        reference, same_inputs = expected_of[kind]
        expected = _probabilities(reference, *same_inputs, mixed=False)
        for mixed in (False, True) if name != CPU else (False,):
            difference = float((_probabilities(net, *inputs, mixed=mixed) - expected).abs().max())
            rate = _pictures_a_second(*many[kind], count=count, mixed=mixed)
            precision = "half" if mixed else "single"
            text = f"{rate:,.0f} pictures a second, probabilities within {difference:.1e}"
            yield Row(f"{kind}, {precision} precision", difference <= PROBABILITY_TOLERANCE[mixed], text)


def _examples(
    models: LoadedModels, *, pictures: int
) -> Iterator[tuple[str, tuple[torch.nn.Module, tuple[Tensor, ...]]]]:
    """Name, network and random inputs of the first checkpoint of each localiser and member."""
    noise = torch.Generator().manual_seed(0)
    for name, nets, shape in (("sagittal", models.sagittal, (FRAME, FRAME)), ("axial", models.axial, WINDOW_SHAPE)):
        if nets:
            yield name, (nets[0], (torch.randn(pictures, 1, *shape, generator=noise),))
    for spec in models.manifest.members:
        if nets_of := models.members.get(spec.name):
            geometry = VIEWS[spec.view].geometry
            slices = geometry.slices if spec.in_chans == 1 else spec.in_chans
            images = torch.randn(pictures, slices, *geometry.shape, generator=noise)
            level = torch.arange(pictures) % len(LEVELS)
            yield spec.name, (nets_of[0], (images, level, torch.ones(pictures, slices, dtype=torch.bool)))


def _probabilities(net: torch.nn.Module, *inputs: Tensor, mixed: bool) -> Tensor:
    output = run_batch(net, *inputs, mixed=mixed)
    return output.exp() if isinstance(net, HeatmapNet) else output.softmax(dim=-1)


def _pictures_a_second(net: torch.nn.Module, inputs: tuple[Tensor, ...], *, count: int, mixed: bool) -> float:
    run_batch(net, *inputs, mixed=mixed)
    began, passes = time.monotonic(), 0
    while (spent := time.monotonic() - began) < SECONDS_EACH:
        run_batch(net, *inputs, mixed=mixed)  # copies the result back, so the device has finished
        passes += 1
    return passes * count / spent


def _whole_runs(name: str, cache: Path, *, studies: int, weights: Path | None) -> Iterator[Row]:
    """Whole runs on the device and on the processor, and how busy the device was."""
    data, options = dataset(cache, studies=studies), ("--weights", str(weights)) if weights else ()
    on_device = observe(data, cache / "out", "--device", name, *options)
    grades = load_submission(cache / "out" / "submission.csv")
    observe(data, cache / "out", "--device", CPU, *options)
    expected = load_submission(cache / "out" / "submission.csv")
    difference = max(float(np.abs(np.subtract(grades[row], expected[row])).max()) for row in expected)
    text = f"{studies / on_device.seconds:.2f} studies a second, grades within {difference:.1e} of the processor's"
    whole = on_device.report["device"] == name and not on_device.report["failures"]
    yield Row(f"{studies} studies", whole and difference <= GRADE_TOLERANCE, text)
    if (busy := _busy_share(data, cache / "out", name, options)) is not None:
        yield Row("busy share of the device", passed=True, measured=f"{busy:.0%}")


def _busy_share(data: Path, out: Path, name: str, options: Sequence[str]) -> float | None:
    """Mean utilisation that the driver's tool reports during a run, None where there is no such tool."""
    if name == CPU or (tool := shutil.which("nvidia-smi")) is None:
        return None
    query = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200"]
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True) as watcher:
        observe(data, out, "--device", name, *options)
        watcher.terminate()
        printed, _ = watcher.communicate()
    shares = [float(line) / 100 for line in printed.split() if line.isdecimal()]
    return float(np.mean(shares)) if shares else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of every device that is asked for; returns 1 where a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=AUTO, help="as of lumbar-kernel predict (default: auto)")
    parser.add_argument("--studies", type=int, default=16, help="phantoms of a whole run (default: 16)")
    parser.add_argument("--weights", type=Path, help="folder with manifest.json (default: the package's own)")
    parser.add_argument("--cache", type=Path, default=Path("cache-bench"), help="folder for the phantoms")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table")
    chosen = parser.parse_args(arguments)
    found = find_devices(chosen.device)
    table = {name: [Row("found", passed=False, measured=reason)] for name, reason in found.broken.items()}
    for name in dict.fromkeys(found.working):
        table[name] = check_device(name, chosen.cache, studies=chosen.studies, weights=chosen.weights)
    for name, rows in table.items():
        for row in rows:
            print(f"{name:<8}{'ok' if row.passed else 'WRONG':<7}{row.check:<40}{row.measured}")
    if chosen.json:
        entry = {name: [asdict(row) for row in rows] for name, rows in table.items()}
        chosen.json.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    return int(not all(row.passed for rows in table.values() for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
