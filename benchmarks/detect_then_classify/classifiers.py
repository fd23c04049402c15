"""The two classifiers of crops: a small score net and VGG-19, both from random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.detect_then_classify.packs import Pack, crops
from benchmarks.detect_then_classify.splits import is_checked
from evaluation.array_rows import select
from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import SEVERITIES, SEVERITY_WEIGHTS

PIXELS = 32
"""Side of the crops that are graded."""

WIDER = 1.5
"""Factor by which training crops are wider, as room for shifts and scales."""

BATCH, RATE, DECAY = 64, 1e-3, 1e-2

SHIFT, SCALE, LIGHT = 2.5, 0.1, 0.15
"""Deviations of training crops: pixels, relative size, relative contrast and brightness."""


def score_net() -> nn.Module:
    """A plain convolutional net of 2.8 million weights for 32 × 32 pixels."""
    layers: list[nn.Module] = []
    inputs = 1
    for outputs in (32, 64, 128, 256):
        for _ in range(2):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        if outputs < 256:
            layers += [nn.MaxPool2d(2), nn.Dropout2d(0.1)]
    side = PIXELS // 8
    layers += [nn.Flatten(), nn.Linear(256 * side**2, 384), nn.ReLU(), nn.Dropout(0.5), nn.Linear(384, len(SEVERITIES))]
    return nn.Sequential(*layers)


def vgg19() -> nn.Module:
    """VGG-19's convolutions with batch norm, then the mean over the picture and one linear layer."""
    from torchvision.models import vgg19_bn

    net = vgg19_bn(weights=None)
    first = net.features[0]
    net.features[0] = nn.Conv2d(1, first.out_channels, kernel_size=3, padding=1)
    head = nn.Linear(512, len(SEVERITIES))
    return nn.Sequential(net.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), head)


CLASSIFIERS: dict[str, Callable[[], nn.Module]] = {"score_net": score_net, "vgg19": vgg19}


@dataclass(frozen=True, eq=False)
class Samples:
    """Crops with grades, wider than the window.

    Attributes:
        images: (n, side, side) uint8.
        labels: (n,) grade 0..2.
        checked: (n,) whether the crop decides which epoch is kept instead of being trained on.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.intp]
    checked: NDArray[np.bool_]


def samples(pack: Pack, group: str, *, fold: int) -> Samples:
    """The crops of one condition in all folds but one, at the marked points, or at the usual place without a mark."""
    rows = select(pack.rows, (pack.rows.group == group) & (pack.fold[pack.rows.picture] != fold))
    usual = np.stack(
        [
            np.nanmean(rows.point[rows.target == target], axis=0) if target in rows.target else np.full(2, 0.5)
            for target in range(len(pack.classes))
        ]
    )
    centre = np.where(np.isnan(rows.point), usual[rows.target], rows.point)
    sources = [pack.pictures[index] for index in rows.picture]
    images = crops(sources, centre, window=pack.window, pixels=PIXELS, wider=WIDER)
    return Samples(images, rows.label, is_checked(pack.study[rows.picture]))


def train_classifier(name: str, data: Samples, path: Path, *, epochs: int, device: str, seed: int) -> None:
    """Train with the challenge's weights and write the weights of the epoch with the least loss on checked studies."""
    torch.manual_seed(seed)
    images, labels = torch.from_numpy(data.images).to(device), torch.from_numpy(data.labels).to(device)
    learnt = torch.from_numpy(np.flatnonzero(~data.checked)).to(device)
    checked = torch.from_numpy(np.flatnonzero(data.checked)).to(device)
    net = CLASSIFIERS[name]().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * -(-len(learnt) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    weight = torch.tensor(SEVERITY_WEIGHTS, device=device)
    best, kept = np.inf, net.state_dict()
    for _ in range(epochs):
        net.train()
        for chosen in learnt[torch.randperm(len(learnt), device=device)].split(BATCH):
            loss = F.cross_entropy(net(_varied(images[chosen])), labels[chosen], weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        graded = _probabilities(net, _middle(images[checked]))
        loss_now = weighted_log_loss(data.labels[data.checked], graded)
        if loss_now < best:
            best, kept = loss_now, copy.deepcopy(net.state_dict())
    partial = path.with_suffix(".partial")
    torch.save({key: value.cpu() for key, value in kept.items()}, partial)
    partial.replace(path)


def load_classifier(name: str, path: Path, *, device: str) -> nn.Module:
    """A net with the weights that `train_classifier` wrote."""
    net = CLASSIFIERS[name]()
    net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval().to(device)


def classify(net: nn.Module, images: NDArray[np.uint8], *, device: str) -> NDArray[np.float64]:
    """Probabilities (n, 3) of crops (n, PIXELS, PIXELS)."""
    return _probabilities(net, torch.from_numpy(images).to(device)[:, None].float() / 255)


@torch.inference_mode()
def _probabilities(net: nn.Module, inputs: Tensor) -> NDArray[np.float64]:
    net.eval()
    found = [F.softmax(net(block), dim=1).cpu() for block in inputs.split(512)]
    return torch.cat(found).double().numpy() if found else np.zeros((0, len(SEVERITIES)))


def _middle(images: Tensor) -> Tensor:
    margin = (images.shape[-1] - PIXELS) // 2
    return images[:, None, margin : margin + PIXELS, margin : margin + PIXELS].float() / 255


def _varied(images: Tensor) -> Tensor:
    """Shifted, scaled, brighter or darker windows out of wider crops."""
    n, side = len(images), images.shape[-1]

    def spread(*shape: int) -> Tensor:
        return torch.randn(shape, device=images.device).clamp(-2, 2)

    scale = PIXELS / side * (1 + SCALE * spread(n))
    shift = 2 * SHIFT / side * spread(n, 2)
    zero = torch.zeros_like(scale)
    matrix = torch.stack([torch.stack([scale, zero, shift[:, 0]], 1), torch.stack([zero, scale, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, [n, 1, PIXELS, PIXELS], align_corners=False)
    windows = F.grid_sample(images[:, None].float() / 255, grid, padding_mode="border", align_corners=False)
    contrast, light = (LIGHT * spread(n, 1, 1, 1) for _ in range(2))
    return ((windows - 0.5) * (1 + contrast) + 0.5 + light).clamp(0, 1)
