"""What a detector-then-classifier entry costs: seconds a study, size, number of weights."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.detect_then_classify.classifiers import PIXELS, classify
from benchmarks.detect_then_classify.detector import Detector
from benchmarks.detect_then_classify.packs import Pack, crops
from lumbar_kernel.schema import CANAL, LEVELS, SIDES

SLICES = {"sagittal_t1": 17, "axial_t2_crops": 40}
"""Pictures of a study that the detectors look at: a median study of the challenge has 17, 17 and 40 slices."""

REPEATS = 3


def parameters(nets: Sequence[nn.Module]) -> int:
    """Weights of some networks."""
    return sum(item.numel() for net in nets for item in net.parameters())


def megabytes(paths: Sequence[Path]) -> float:
    """Size of some files."""
    return sum(path.stat().st_size for path in paths) / 1e6


def study_seconds(
    packs: Mapping[str, Pack],
    detectors: Mapping[str, Detector],
    nets: Mapping[str, Mapping[str, nn.Module]],
    *,
    device: str,
) -> dict[str, float]:
    """Median time to detect on the slices of a study and to grade its 25 crops, pixels in memory, models loaded.

    Args:
        packs: by name; each lends pictures.
        detectors: by pack.
        nets: pack → condition → classifier.
        device: of the classifiers.

    Returns:
        `seconds` by the clock and `processor_seconds` of all threads, which other work on the machine hardly changes.
    """
    seconds, processor_seconds = [], []
    for _ in range(REPEATS + 1):
        began, busy = time.perf_counter(), time.process_time()
        for name, pack in packs.items():
            pictures = [pack.pictures[index % len(pack.pictures)] for index in range(SLICES[name])]
            detectors[name].detect(pictures, size=pack.size)
            for group, net in nets[name].items():
                count = len(LEVELS) if group == CANAL else len(LEVELS) * len(SIDES)
                cut = crops(pictures[:1] * count, np.full((count, 2), 0.5), window=pack.window, pixels=PIXELS)
                classify(net, cut, device=device)
        seconds.append(time.perf_counter() - began)
        processor_seconds.append(time.process_time() - busy)
    return {
        "seconds": statistics.median(seconds[1:]),
        "processor_seconds": statistics.median(processor_seconds[1:]),
    }
