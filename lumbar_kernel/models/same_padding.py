"""TensorFlow's "same" padding without copying images, for networks on a processor.

Before a convolution of stride 2 it pads an even image on the right and at the bottom only, for which torch copies the
image. A kernel with one more row and column of zeros, at its start, needs symmetric padding instead, which costs
nothing: the same numbers in half the time.
"""

from __future__ import annotations

import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from lumbar_kernel.models.folding import put_submodule


class UncopiedConv(nn.Module):
    """A `Conv2dSame` of stride 2 that does not copy even images on a processor; others go through it as it is."""

    widened: Tensor

    def __init__(self, convolution: Conv2dSame) -> None:
        super().__init__()
        self.convolution = convolution
        self.register_buffer("widened", F.pad(convolution.weight.detach(), (1, 0, 1, 0)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """The convolution of (batch, channels, rows, columns), half as many of both."""
        own, (rows, columns) = self.convolution, images.shape[2:]
        if images.device.type != "cpu" or rows % 2 or columns % 2:
            padded: Tensor = own(images)
            return padded
        padding = [(size - 1) // 2 for size in own.kernel_size]
        return F.conv2d(images, self.widened, own.bias, own.stride, padding, 1, own.groups)


def without_copies(net: nn.Module) -> None:
    """Replace the convolutions of a trained network that copy images and need not, in place."""
    for name, module in list(net.named_modules()):
        if isinstance(module, Conv2dSame) and _is_replaceable(module):
            put_submodule(net, name, UncopiedConv(module))


def _is_replaceable(convolution: Conv2dSame) -> bool:
    odd = all(size % 2 for size in convolution.kernel_size)
    plain = convolution.stride == (2, 2) and convolution.dilation == (1, 1)
    return odd and plain
