"""Each kind of network on a device against itself on the processor, and its rate."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.speed.call_rate import calls_a_second
from lumbar_kernel.localisation.axial import WINDOW_SHAPE
from lumbar_kernel.localisation.slice_maps import FRAME
from lumbar_kernel.models.checkpoints import LoadedModels, load_models
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.inference import run_batch
from lumbar_kernel.runtime.devices import CPU
from lumbar_kernel.schema import LEVELS
from lumbar_kernel.views import VIEWS

PROBABILITY_TOLERANCE = 1e-3
"""Largest difference of a probability from the processor's."""

SECONDS_EACH = 0.5
PICTURES, PICTURES_ON_ACCELERATORS = 8, 128
"""Pictures at once, on a processor and on an accelerator."""


def check_networks(name: str, weights: Path | None) -> Iterator[tuple[str, bool, str, dict[str, float]]]:
    """What was checked, whether it holds, what was measured in words and in figures, for each network."""
    expected_of = dict(_examples(load_models(weights, CPU)[0], pictures=4))
    models, _ = load_models(weights, name)
    count = PICTURES if name == CPU else PICTURES_ON_ACCELERATORS
    many = dict(_examples(models, pictures=count))
    for kind, (net, inputs) in _examples(models, pictures=4):
        expected = _probabilities(*expected_of[kind])
        difference = float((_probabilities(net, inputs) - expected).abs().max())
        rate = count * calls_a_second(partial(_output, *many[kind]), seconds=SECONDS_EACH)
        text = f"{rate:,.0f} pictures a second, probabilities within {difference:.1e}"
        yield kind, difference <= PROBABILITY_TOLERANCE, text, {"pictures_per_second": rate, "difference": difference}


def _examples(models: LoadedModels, *, pictures: int) -> Iterator[tuple[str, tuple[nn.Module, tuple[Tensor, ...]]]]:
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


def _output(net: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    return run_batch([net], *inputs, combine=torch.cat)  # copies the result back, so the device has finished


def _probabilities(net: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    output = _output(net, inputs)
    return output.exp() if isinstance(net, HeatmapNet) else output.softmax(dim=-1)
