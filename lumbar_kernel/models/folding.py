"""Batch norms folded into the convolutions before them, which leaves a trained network's outputs as they are.

A batch norm of a trained network is a constant scale and shift of each channel. Multiplied into the weights of the
convolution that feeds it, it costs nothing: a quarter of the time of small networks on a processor.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Pair = tuple[str, str]
"""Names of a convolution and of the batch norm that takes its output."""


def fold(net: nn.Module, pairs: tuple[Pair, ...]) -> None:
    """Fold batch norms into their convolutions, in place; `pairs` as `batch_norm_pairs` gives them."""
    for convolution_name, norm_name in pairs:
        convolution, norm = _convolution(net, convolution_name), _batch_norm(net, norm_name)
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
        )
        # timm's batch norms apply the activation that follows them
        put_submodule(net, norm_name, getattr(norm, "act", nn.Identity()))


def put_submodule(net: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one of a dotted name; torch's own `set_submodule` came with version 2.5."""
    parent, _, own = name.rpartition(".")
    setattr(net.get_submodule(parent), own, module)


def batch_norm_pairs(net: nn.Module, *example: Tensor) -> tuple[Pair, ...]:
    """Every batch norm of a network whose input is the output of a convolution, both used once.

    One forward pass shows them, so that no architecture needs to be known. What it does not show is whether the
    convolution's output is used elsewhere too, or its weights are computed in every pass: compare the outputs
    before and after folding.

    Args:
        net: in evaluation mode; it is not changed.
        example: inputs of the forward pass, on the device of the network.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
        return ()
    produced: list[tuple[Tensor, str]] = []
    pairs: list[Pair] = []
    calls: Counter[str] = Counter()

    def after_convolution(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            produced.append((output, name))

        return hook

    def before_norm(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            calls[name] += 1
            pairs.extend((convolution, name) for output, convolution in produced if output is inputs[0])

        return hook

    hooks = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after_convolution(name)))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats and module.affine:
            hooks.append(module.register_forward_pre_hook(before_norm(name)))
    try:
        with torch.inference_mode():
            net(*example)
    finally:
        for handle in hooks:
            handle.remove()
    return tuple(pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1)


def _convolution(net: nn.Module, name: str) -> nn.Conv2d:
    module = net.get_submodule(name)
    assert isinstance(module, nn.Conv2d)
    return module


def _batch_norm(net: nn.Module, name: str) -> nn.BatchNorm2d:
    module = net.get_submodule(name)
    assert isinstance(module, nn.BatchNorm2d)
    return module
