"""1×1 convolutions as matrix products, for networks on an accelerator.

cuDNN plans every convolution again for each number of pictures: on an H200 20 s for the seven kinds of network in two
numbers. Matrix products need no plan, and torch has its own depthwise kernels for pictures with channels first, so that
1 s is left. Computing is slower by up to two thirds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lumbar_kernel.models.folding import put_submodule


class PointwiseConv(nn.Module):
    """A 1×1 convolution as one matrix product for each picture."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, channels, rows, columns) → the same with other channels."""
        product = self.weight.flatten(1) @ pictures.flatten(2)
        if self.bias is not None:
            product = product + self.bias[:, None]
        return product.reshape(*product.shape[:2], *pictures.shape[2:])


def prepare_for_accelerator(net: nn.Module) -> None:
    """Give a trained network matrix products for 1×1 convolutions and put channels first, in place."""
    for name, module in list(net.named_modules()):
        if type(module) is nn.Conv2d and _is_pointwise(module):
            put_submodule(net, name, PointwiseConv(module))
    net.to(memory_format=torch.contiguous_format)


def _is_pointwise(convolution: nn.Conv2d) -> bool:
    plain = convolution.stride == (1, 1) and convolution.padding == (0, 0) and convolution.groups == 1
    return plain and convolution.kernel_size == (1, 1)
