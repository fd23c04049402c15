"""Batches through a net: sized for the device, halved when its memory is short."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

CPU_PIXELS, ACCELERATOR_PIXELS = 1 << 19, 1 << 23
"""Pixels of a batch: on a processor the layers of larger ones leave its caches and fill its memory."""


def batches(count: int, *, pixels: int, net: nn.Module, images: int = 1) -> list[slice]:
    """Equal slices of `count` items, in which they go through a net; an item has `images` of so many pixels each."""
    most = max(1, (CPU_PIXELS if _is_cpu(net) else ACCELERATOR_PIXELS) // (pixels * images))
    number = math.ceil(count / most)
    ends = [count * (k + 1) // number for k in range(number)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def run_batch(nets: Sequence[nn.Module], *inputs: Tensor, combine: Callable[[list[Tensor]], Tensor]) -> Tensor:
    """What `combine` makes of the outputs of several nets for a batch, float32 on the processor.

    The batch goes to the device once, whatever the number of nets, and only the combined outputs come back: of the
    localiser's time on an H200 half was copying. Computed in single precision: there half precision made only one of
    four networks clearly faster, and takes a second or two of planning for every batch size.

    Args:
        nets: on one device.
        inputs: on the processor, batch first; batches that do not fit into the accelerator's memory are halved.
        combine: the outputs, one for each net, on the device → a tensor, batch first.

    Raises:
        torch.cuda.OutOfMemoryError: not even one item fits.
    """
    try:
        return _run(nets, inputs, combine)
    except torch.cuda.OutOfMemoryError:
        if len(inputs[0]) == 1:
            raise
    torch.cuda.empty_cache()  # outside of `except`, whose traceback would hold the tensors of the failed attempt
    half = len(inputs[0]) // 2
    parts = [[item[:half] for item in inputs], [item[half:] for item in inputs]]
    return torch.cat([run_batch(nets, *part, combine=combine) for part in parts])


def _is_cpu(net: nn.Module) -> bool:
    return next(net.parameters()).device.type == "cpu"


def _run(nets: Sequence[nn.Module], inputs: tuple[Tensor, ...], combine: Callable[[list[Tensor]], Tensor]) -> Tensor:
    device = next(nets[0].parameters()).device
    # `pointwise` says why accelerators have channels first.
    layout = torch.channels_last if _is_cpu(nets[0]) else torch.contiguous_format
    moved = [item.to(device, memory_format=layout) if item.dim() == 4 else item.to(device) for item in inputs]
    # TF32 keeps no more digits than half precision
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return combine([net(*moved).float() for net in nets]).cpu()
