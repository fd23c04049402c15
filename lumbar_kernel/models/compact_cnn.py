"""A small plain convolutional encoder of crops, which errs elsewhere than the deeper encoders of timm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

COMPACT_CNN = "compact_cnn"
"""The architecture's name in presets and manifests, where others are timm model names."""

WIDTHS = (32, 64, 128, 256)
"""Channels of its pairs of convolutions; each pair but the last halves the resolution."""

SEEN = 2 / 3
"""Part of a crop's height and width, around its middle, that it looks at."""

GRID = (4, 4)
"""Places of the last feature map, which keep weights of their own in the dense layer."""


class CompactCnn(nn.Module):
    """Pairs of 3 × 3 convolutions on the middle of a crop at half its resolution, then one dense layer.

    A timm backbone of this size averages its features over the image and stops at a 32nd of its resolution; here each
    place of the last map has its own weights, so that what lies above, below and behind a foramen stays apart.

    Args:
        in_chans: channels of an image.
        num_features: outputs.
    """

    def __init__(self, *, in_chans: int, num_features: int = 256) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, width in enumerate(WIDTHS):
            layers += [nn.MaxPool2d(2), nn.Dropout2d(0.1)] if index else []
            for _ in range(2):
                layers += [nn.Conv2d(in_chans, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                in_chans = width
        self.features = nn.Sequential(*layers)
        self.grid = nn.AdaptiveAvgPool2d(GRID)
        self.dense = nn.Linear(in_chans * GRID[0] * GRID[1], num_features)
        self.num_features = num_features

    def forward(self, images: Tensor) -> Tensor:
        """Features of images: (n, in_chans, rows, columns) → (n, num_features)."""
        rows, columns = (round(size * (1 - SEEN) / 2) for size in images.shape[2:])
        middle = images[:, :, rows : images.shape[2] - rows, columns : images.shape[3] - columns]
        features: Tensor = self.grid(self.features(F.avg_pool2d(middle, 2)))
        return F.relu(self.dense(features.flatten(1)))
