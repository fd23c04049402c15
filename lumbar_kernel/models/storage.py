"""How the weights of a network are stored: large ones as 8-bit integers with a scale for each output channel."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor

SCALE = ".scale"
"""Ending of the name under which the scales of 8-bit weights are stored."""

MAX_INT8 = 127
MIN_NUMBERS = 4096
"""Smaller tensors stay in half precision: they are many and hold little."""


def to_bytes(state: Mapping[str, Tensor]) -> bytes:
    """The safetensors file of a network's weights, (output channels, …) each."""
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if not value.is_floating_point():
            stored[name] = value
        elif value.dim() < 2 or value.numel() < MIN_NUMBERS:
            stored[name] = value.half()
        else:
            stored[name], stored[name + SCALE] = _rounded(value.float())
    stored = {name: value.contiguous() for name, value in stored.items()}  # training keeps weights channels-last
    raw: bytes = safetensors.torch.save(stored)
    return raw


def from_bytes(raw: bytes) -> dict[str, Tensor]:
    """The weights in single precision; raises SafetensorError for bytes that are no such file."""
    stored = safetensors.torch.load(raw)
    weights = {}
    for name, value in stored.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in stored:
            continue
        scale = stored.get(name + SCALE)
        if scale is not None:
            weights[name] = value * _by_channel(scale, value)
        else:
            weights[name] = value.float() if value.is_floating_point() else value
    return weights


def _rounded(value: Tensor) -> tuple[Tensor, Tensor]:
    """Integers (output channels, …) and the scale (output channels,) float32 that they are multiplied by."""
    largest = value.flatten(1).abs().amax(dim=1)
    scale = torch.where(largest > 0, largest, 1.0) / MAX_INT8
    return (value / _by_channel(scale, value)).round().to(torch.int8), scale


def _by_channel(scale: Tensor, value: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (value.dim() - 1))
