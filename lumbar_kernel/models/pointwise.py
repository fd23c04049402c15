"""How 1×1 convolutions are computed: as matrix products on an accelerator, by oneDNN on a processor.

cuDNN plans every convolution again for each number of images: on an H200 20 s for the seven kinds of network in two
numbers. Matrix products need no plan, and torch has its own depthwise kernels for images with channels first, so that
1 s is left. Computing is slower by up to two thirds.

On one thread of a processor torch leaves 1×1 convolutions of fewer than 16 images to code of its own, which takes
half as long again on some machines, unless they are dilated, which means nothing for a single weight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lumbar_kernel.models.folding import put_submodule

DILATED = (2, 2)
"""Any but (1, 1) makes torch leave a convolution to oneDNN."""


class PointwiseConv(nn.Module):
    """A 1×1 convolution as one matrix product for each image."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, rows, columns) → the same with other channels."""
        product = self.weight.flatten(1) @ images.flatten(2)
        if self.bias is not None:
            product = product + self.bias[:, None]
        return product.reshape(*product.shape[:2], *images.shape[2:])


def prepare_for_accelerator(net: nn.Module) -> None:
    """Give a trained network matrix products for 1×1 convolutions and put channels first, in place."""
    for name, convolution in _pointwise(net):
        put_submodule(net, name, PointwiseConv(convolution))
    net.to(memory_format=torch.contiguous_format)


def prepare_for_processor(net: nn.Module) -> None:
    """Let oneDNN compute the 1×1 convolutions of a network for any number of images, in place."""
    for _, convolution in _pointwise(net) if torch.backends.mkldnn.is_available() else ():
        convolution.dilation = DILATED


def _pointwise(net: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """The 1×1 convolutions of a network and their names."""
    return [
        (name, module)
        for name, module in net.named_modules()
        if type(module) is nn.Conv2d
        and (module.kernel_size, module.stride, module.padding, module.groups) == ((1, 1), (1, 1), (0, 0), 1)
    ]
