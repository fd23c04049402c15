"""How long training takes and how much it stores, from a timed step of each network."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import cache

import torch

from lumbar_kernel.localisation.slice_maps import FRAME
from lumbar_kernel.models.storage import to_bytes
from lumbar_kernel.schema import LEVELS
from lumbar_kernel.views import VIEWS, level_and_side
from training.examples import WIDER
from training.presets import Localiser, Network, Preset
from training.studies import POINTS_SHAPE, SLICES_PER_SERIES
from training.train_grader import TASKS
from training.train_landmarks import TASKS as LANDMARK_TASKS
from training.trainer import pick_device

PACK_EXAMPLES = {"sagittal": 8887, "axial_points": 1799, "foraminal": 15708, "axial": 5100, "canal": 1955}
"""Examples of all packs for the localisers, by name, and for the graders, by task."""

LANDMARK_EXAMPLES = {"sagittal": 2 * SLICES_PER_SERIES, "axial_points": len(LEVELS)}
"""Examples of a whole study for the localisers."""

LEFT_OUT = 0.8
"""Fraction of the examples that is not left out for validation."""

TIMED = 8
"""Examples of the timed step on a processor; a GPU, which would hardly notice so few, gets a whole batch."""

PASSES = 3
"""Steps of which the quickest counts: the first ones choose algorithms and fetch memory."""


def training_seconds(network: Network, *, studies: int, phantoms: int, packs: bool) -> float:
    """Expected time of one run of a network on this machine.

    Args:
        network: of a preset.
        studies: whole studies with labels.
        phantoms: phantom studies.
        packs: whether the packs take part.
    """
    name = network.name if isinstance(network, Localiser) else network.task
    whole = studies + phantoms
    examples = whole * _examples_of_study(network) + (PACK_EXAMPLES.get(name, 0) if packs else 0)
    count = network.steps or max(1, math.ceil(network.epochs * LEFT_OUT * examples / network.batch))
    return count * network.batch * _seconds_per_example(network)


def _examples_of_study(network: Network) -> int:
    if isinstance(network, Localiser):
        return LANDMARK_EXAMPLES[network.name]
    return len(level_and_side(VIEWS[TASKS[network.task].view]))


@cache
def _seconds_per_example(network: Network) -> float:
    """Forward and backward pass of one example of a batch, in the precision of training, not compiled."""
    device = pick_device()
    on_gpu = device.type == "cuda"
    count = network.batch if on_gpu else TIMED
    net, inputs = _net(network), [item.to(device) for item in _inputs(network, count)]
    net.to(device).to(memory_format=torch.channels_last).train()
    seconds = []
    for _ in range(PASSES):
        began = time.perf_counter()
        with torch.autocast(device.type, enabled=on_gpu):
            value = net(*inputs).float().square().mean()
        value.backward()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds) / count


def _net(network: Network) -> torch.nn.Module:
    if isinstance(network, Localiser):
        return LANDMARK_TASKS[network.task].net(network.backbone)
    return TASKS[network.task].net(network.backbone)


def _inputs(network: Network, count: int) -> tuple[torch.Tensor, ...]:
    """What a network takes for so many examples."""
    if isinstance(network, Localiser):
        return (torch.zeros(count, 1, *LANDMARK_TASKS[network.task].shape),)
    geometry = VIEWS[TASKS[network.task].view].geometry
    images = torch.zeros(count, geometry.slices, *geometry.shape)
    return images, torch.zeros(count, dtype=torch.long), torch.ones(count, geometry.slices, dtype=torch.bool)


def cache_bytes(preset: Preset, *, studies: int, phantoms: int) -> float:
    """Size of the examples of whole studies, real ones stored by study and together."""
    each = LANDMARK_EXAMPLES["sagittal"] * FRAME**2 + LANDMARK_EXAMPLES["axial_points"] * math.prod(POINTS_SHAPE)
    for view in (VIEWS[name] for name in {TASKS[item.task].view for item in preset.members}):
        rows, columns = view.geometry.shape
        each += len(level_and_side(view)) * view.geometry.slices * round(rows * WIDER) * round(columns * WIDER)
    return float(each * (2 * studies + phantoms))


def weights_bytes(checkpoints: Mapping[Network, int]) -> float:
    """Size of so many exported checkpoints of each network."""
    return float(sum(count * len(to_bytes(_net(net).state_dict())) for net, count in checkpoints.items()))
