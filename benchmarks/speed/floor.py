"""The least that the work can take: every file read and decoded once, and the networks on full batches, on all cores.

Each part runs in as many processes as there are cores, of one thread each, since cores that are busy together are
slower than one alone. Nothing else is counted: no start, no sampling, no crops, no messages.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pydicom
import torch
from torch import nn

from benchmarks.speed.call_rate import calls_a_second
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.localisation.axial import WINDOW_SHAPE
from lumbar_kernel.localisation.slice_maps import FRAME
from lumbar_kernel.models.checkpoints import LoadedModels, load_models
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.processes import process_pool
from lumbar_kernel.runtime.process_settings import keep_freed_memory, one_thread
from lumbar_kernel.schema import AXIAL_T2, LEVELS, SAGITTAL_T1, SAGITTAL_T2, SIDES
from lumbar_kernel.study import StudyFiles
from lumbar_kernel.views import VIEWS

BATCHES = (16, 32, 64)
"""Pictures at once; the fastest counts."""

SECONDS_EACH = 0.7
"""How long each batch size of a network is timed."""


@dataclass(frozen=True)
class Floor:
    """Seconds that all studies take at least.

    Attributes:
        decode_seconds: reading and decoding every file once.
        network_seconds: the networks on the pictures that the studies hold.
        pictures: network passes, by name of localiser or member.
    """

    decode_seconds: float
    network_seconds: float
    pictures: dict[str, int]

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.decode_seconds + self.network_seconds


def floor(studies: Sequence[StudyFiles], *, cores: int) -> Floor:
    """Measure the floor of some studies on so many cores."""
    paths = [path for files in studies for series in files.series for path in series.paths]
    parts = [paths[k::cores] for k in range(cores)]
    with process_pool(cores) as pool:
        list(pool.map(time.sleep, [0.5] * cores))  # all processes have started
        list(pool.map(decode_all, parts))  # the imports, and files into memory
        began = time.monotonic()
        list(pool.map(decode_all, parts))
        decode_seconds = time.monotonic() - began
        counted = list(pool.map(count_pictures, [studies[k::cores] for k in range(cores)]))
        rates = list(pool.map(picture_seconds, range(cores)))
    pictures = {name: sum(part[name] for part in counted) for name in counted[0]}
    each = {name: sum(part[name] for part in rates) / cores for name in rates[0]}
    return Floor(decode_seconds, sum(pictures[name] * each[name] for name in pictures) / cores, pictures)


def decode_all(paths: Sequence[Path]) -> int:
    """Pixels of some files, each parsed and decoded once by pydicom."""
    return sum(int(pydicom.dcmread(path).pixel_array.size) for path in paths)


def count_pictures(studies: Sequence[StudyFiles]) -> dict[str, int]:
    """Pictures that go through one network of each kind: all sagittal slices, a window a level, a stack a crop."""
    sagittal = axial = t1 = t2 = 0
    for files in studies:
        study = read_study(files)
        slices = {role: len(study.slices(role)) for role in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2)}
        sagittal += slices[SAGITTAL_T1] + slices[SAGITTAL_T2]
        axial, t1, t2 = axial + bool(slices[AXIAL_T2]), t1 + bool(slices[SAGITTAL_T1]), t2 + bool(slices[SAGITTAL_T2])
    count = {"sagittal": sagittal, "axial": axial * len(LEVELS)}
    studies_with = {"sagittal_t1": t1, "sagittal_t2": t2, "axial_t2": axial}
    for spec in read_manifest(None).members:
        view = VIEWS[spec.view]
        stacks = len(LEVELS) * (len(SIDES) if view.sided else 1)
        slices_each = view.geometry.slices if spec.in_chans == 1 else 1
        count[spec.name] = studies_with[spec.view] * stacks * slices_each
    return count


def picture_seconds(_: int) -> dict[str, float]:
    """Seconds of one picture through all networks of a localiser or member, on one thread, at the best batch size."""
    keep_freed_memory()
    models, _failed = load_models(None, "cpu")
    with one_thread(), torch.inference_mode():
        return {name: sum(_best(net, shape) for net in nets) for name, (nets, shape) in _networks(models).items()}


def _networks(models: LoadedModels) -> dict[str, tuple[list[nn.Module], tuple[int, int, int]]]:
    """Name → networks without the pooling of stacks, and the shape of a picture."""
    found: dict[str, tuple[list[nn.Module], tuple[int, int, int]]] = {
        "sagittal": (list(models.sagittal), (1, FRAME, FRAME)),
        "axial": (list(models.axial), (1, *WINDOW_SHAPE)),
    }
    for spec in models.manifest.members:
        nets: list[nn.Module] = [net.encoder for net in models.members[spec.name]]
        found[spec.name] = (nets, (spec.in_chans, *VIEWS[spec.view].geometry.shape))
    return found


def _best(net: nn.Module, shape: tuple[int, int, int]) -> float:
    """Seconds of one picture at the batch size where it takes least."""
    most = 0.0
    for size in BATCHES:
        pictures = torch.randn(size, *shape).contiguous(memory_format=torch.channels_last)
        most = max(most, size * calls_a_second(partial(net, pictures), seconds=SECONDS_EACH))
    return 1 / most
