"""How long training takes and how much it stores, from a timed step of each network."""

from __future__ import annotations

import math
import time
from functools import cache

import torch

from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.views import VIEWS, level_and_side
from training.examples import WIDER
from training.presets import Localiser, Network, Preset
from training.train_grader import TASKS
from training.train_landmarks import TASKS as LANDMARK_TASKS
from training.trainer import pick_device

PACK_EXAMPLES = {"sagittal": 8887, "axial_points": 1799, "foraminal": 15708, "axial": 5100, "canal": 1955}
"""Examples of all packs for the localisers, by name, and for the graders, by task."""

LANDMARK_EXAMPLES = {"sagittal": 10, "axial_points": 5}
"""Examples of a whole study for the localisers."""

LEFT_OUT = 0.8
"""Fraction of the examples that is not left out for validation."""

TIMED = 8
"""Examples of the timed step."""


def training_seconds(network: Network, *, studies: int, phantoms: int, packs: bool, steps: int | None) -> float:
    """Expected time of one run of a network on this machine.

    Args:
        network: of a preset.
        studies: whole studies with labels.
        phantoms: phantom studies.
        packs: whether the packs take part.
        steps: steps of the run, None for the network's own length.
    """
    name = network.name if isinstance(network, Localiser) else network.task
    whole = studies + phantoms
    examples = whole * _examples_of_study(network) + (PACK_EXAMPLES.get(name, 0) if packs else 0)
    count = steps or network.steps or max(1, math.ceil(network.epochs * LEFT_OUT * examples / network.batch))
    return count * network.batch * _seconds_per_example(network)


def _examples_of_study(network: Network) -> int:
    if isinstance(network, Localiser):
        return LANDMARK_EXAMPLES[network.name]
    return len(level_and_side(VIEWS[TASKS[network.task].view]))


@cache
def _seconds_per_example(network: Network) -> float:
    """Forward and backward pass of one example, the second of two timed ones."""
    device = pick_device()
    net, inputs = _net_and_inputs(network)
    net.to(device).train()
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        net(*(item.to(device) for item in inputs)).float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    return seconds / TIMED


def _net_and_inputs(network: Network) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    if isinstance(network, Localiser):
        shape = LANDMARK_TASKS[network.task].shape
        return HeatmapNet(network.backbone, points=network.points), (torch.zeros(TIMED, 1, *shape),)
    task = TASKS[network.task]
    view = VIEWS[task.view]
    images = torch.zeros(TIMED, view.geometry.slices, *view.geometry.shape)
    shown = torch.ones(TIMED, view.geometry.slices, dtype=torch.bool)
    return (
        GradeNet(network.backbone, in_chans=task.in_chans, heads=len(view.groups)),
        (images, torch.zeros(TIMED, dtype=torch.long), shown),
    )


def cache_bytes(preset: Preset, *, studies: int, phantoms: int) -> float:
    """Size of the examples of whole studies, real ones stored by study and together."""
    each = 10 * 256**2 + 5 * 160**2
    for view in (VIEWS[name] for name in {TASKS[item.task].view for item in preset.members}):
        rows, columns = view.geometry.shape
        each += len(level_and_side(view)) * view.geometry.slices * round(rows * WIDER) * round(columns * WIDER)
    return float(each * (2 * studies + phantoms))


def weights_bytes(preset: Preset) -> float:
    """Size of all exported checkpoints, two bytes a number."""
    return float(
        sum(
            2 * len(network.folds) * sum(item.numel() for item in _net_and_inputs(network)[0].parameters())
            for network in preset.networks()
        )
    )
