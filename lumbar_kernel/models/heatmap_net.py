"""A timm encoder with a light decoder: for each landmark its place in the image, or its absence."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lumbar_kernel.arrays import FloatArray

STRIDE = 4
"""Input pixels per heatmap cell."""

WIDTH = 64
"""Channels of the decoder."""


class HeatmapNet(nn.Module):
    """Landmark maps with an explicit outcome for absence.

    Each landmark has one probability distribution over all heatmap cells plus one extra outcome, absence, so slices
    that do not show a landmark take no part when the maps of many slices are added up.

    Args:
        backbone: timm model name, created with `features_only`.
        points: number of landmarks.
    """

    def __init__(self, backbone: str, *, points: int) -> None:
        super().__init__()
        self.encoder = timm.create_model(backbone, pretrained=False, features_only=True, in_chans=1)
        reductions = self.encoder.feature_info.reduction()
        self.first = reductions.index(STRIDE)
        channels = self.encoder.feature_info.channels()[self.first :]
        self.laterals = nn.ModuleList(nn.Conv2d(n, WIDTH, 1) for n in channels)
        self.context = nn.Linear(channels[-1], WIDTH)  # the whole image, so that a level can be counted
        self.smooth = nn.ModuleList(_block(WIDTH) for _ in channels)
        self.head = nn.Conv2d(WIDTH, points, 1)
        self.absent = nn.Linear(channels[-1], points)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities of images: (batch, 1, rows, columns) → (batch, points, cells + 1).

        Cells run row by row over (rows / 4, columns / 4); the last entry is absence.
        """
        features = self.encoder(images)[self.first :]
        whole = features[-1].mean(dim=(2, 3))
        x = self.laterals[-1](features[-1]) + self.context(whole)[:, :, None, None]
        x = self.smooth[-1](x)
        for index in range(len(features) - 2, -1, -1):
            lateral = self.laterals[index](features[index])
            x = self.smooth[index](lateral + _enlarged(x, lateral.shape[-2:]))
        logits = torch.cat([self.head(x).flatten(2), self.absent(whole)[:, :, None]], dim=2)
        return F.log_softmax(logits.float(), dim=2)


def _enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    """Maps (batch, channels, rows, columns) interpolated to other rows and columns.

    Always with channels last: with channels first this step took two thirds of the localiser's time on an H200. Added
    to maps of another layout the result takes theirs.
    """
    return F.interpolate(maps.contiguous(memory_format=torch.channels_last), size=size, mode="bilinear")


def _block(width: int) -> nn.Sequential:
    """A depthwise-separable 5×5 convolution with batch norm."""
    return nn.Sequential(
        nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.Hardswish(),
    )


def cells_at(pixels: FloatArray) -> FloatArray:
    """Heatmap coordinates of image coordinates, both counted from the centre of the first."""
    return (pixels + 0.5) / STRIDE - 0.5


def pixels_at(cells: FloatArray) -> FloatArray:
    """Picture coordinates of heatmap coordinates, both counted from the centre of the first."""
    return (cells + 0.5) * STRIDE - 0.5
