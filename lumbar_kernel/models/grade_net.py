"""An encoder that grades crops, and the scale on which it sees them."""

from __future__ import annotations

from typing import cast

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lumbar_kernel.intensities import normalise, normalise_bytes
from lumbar_kernel.models.compact_cnn import COMPACT_CNN, CompactCnn
from lumbar_kernel.schema import LEVELS, SEVERITIES

LATERAL = 3
"""Distances from the middle of a stack that the pooling distinguishes, in slices; farther ones count as the last."""

MEAN, SPREAD = 0.4, 0.3
"""Of normalised pixels, about: networks see them around zero, in units of the second."""


def create_encoder(backbone: str, *, in_chans: int) -> tuple[nn.Module, int]:
    """An encoder with random weights, and its number of features; `backbone` as in `GradeNet`."""
    if backbone == COMPACT_CNN:
        compact = CompactCnn(in_chans=in_chans)
        return compact, compact.num_features
    encoder = timm.create_model(backbone, pretrained=False, in_chans=in_chans, num_classes=0)
    # Where timm adds a layer between the mean over the image and the classifier, num_features is its input.
    return encoder, getattr(encoder, "head_hidden_size", None) or encoder.num_features


class SlicePool(nn.Module):
    """Attention over the slices of a stack: a weight for each slice there is, from its features and its distance.

    Args:
        width: features of a slice.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, 1))
        self.distance = nn.Parameter(-torch.arange(LATERAL, dtype=torch.float32))

    def forward(self, features: Tensor, shown: Tensor) -> Tensor:
        """Pooled features: (slices there are, width), shown (batch, slices) bool → (batch, width)."""
        slices = shown.shape[1]
        apart = (torch.arange(slices, device=shown.device) - slices // 2).abs().clamp(max=LATERAL - 1)
        score = self.distance[apart].expand(shown.shape)[shown] + self.score(features)[:, 0]
        every = score.new_full(shown.shape, -torch.inf).masked_scatter(shown, score)
        weight = every.softmax(dim=1)[shown]
        crop = torch.arange(len(shown), device=shown.device)[:, None].expand(shown.shape)[shown]
        pooled = features.new_zeros(len(shown), features.shape[1])
        return pooled.index_add(0, crop, weight[:, None].to(features.dtype) * features)


class GradeNet(nn.Module):
    """An encoder whose pooled features, with the level, predict one grade per head.

    Args:
        backbone: timm model name, or `COMPACT_CNN`.
        in_chans: 1 for a member that encodes slices one by one and pools them, else the slices of a crop.
        heads: conditions graded.
        drop_rate: dropout before the classifier.
        fixed_count: encode as many images in every batch, where slices are missing some of them twice, for training
            on an accelerator, which plans or compiles each number of images anew.
    """

    def __init__(
        self, backbone: str, *, in_chans: int, heads: int, drop_rate: float = 0.0, fixed_count: bool = False
    ) -> None:
        super().__init__()
        self.encoder, width = create_encoder(backbone, in_chans=in_chans)
        self.in_chans, self.heads, self.fixed_count = in_chans, heads, fixed_count
        self.pool = SlicePool(width) if in_chans == 1 else None
        self.drop = nn.Dropout(drop_rate)
        self.level = nn.Linear(len(LEVELS), heads * len(SEVERITIES), bias=False)
        self.classifier = nn.Linear(width, heads * len(SEVERITIES))

    def forward(self, images: Tensor, level: Tensor, shown: Tensor) -> Tensor:
        """Logits of crops.

        Args:
            images: (batch, slices, rows, columns); as many slices as `in_chans` unless slices are pooled.
            level: (batch,) index.
            shown: (batch, slices) bool, which slices there are; only pooling heeds it.

        Returns:
            (batch, heads, 3).
        """
        return self.logits(self.features(images, shown), level)

    def features(self, images: Tensor, shown: Tensor) -> Tensor:
        """Pooled features (batch, width) of crops."""
        if self.pool is None:
            return cast(Tensor, self.encoder(images))
        return cast(Tensor, self.pool(self._encoded(images[shown][:, None], most=shown.numel()), shown))

    def logits(self, features: Tensor, level: Tensor) -> Tensor:
        """Logits (batch, heads, 3) of pooled features (batch, width) at a level (batch,)."""
        known = F.one_hot(level, len(LEVELS)).to(features.dtype)
        logits: Tensor = self.classifier(self.drop(features)) + self.level(known)
        return logits.reshape(-1, self.heads, len(SEVERITIES))

    def _encoded(self, images: Tensor, *, most: int) -> Tensor:
        """Features (n, width) of the images (n, 1, rows, columns) of a batch, which holds at most so many."""
        if not self.fixed_count:
            return cast(Tensor, self.encoder(images))
        repeated = images[torch.arange(most, device=images.device) % len(images)]
        return cast(Tensor, self.encoder(repeated)[: len(images)])


def to_input(crops: NDArray[np.uint8] | NDArray[np.float32], *, in_chans: int) -> NDArray[np.float32]:
    """What a net sees of crops (n, slices, rows, columns): slices that it takes at once share a scale around zero."""
    scale = normalise_bytes if crops.dtype == np.uint8 else normalise
    at_once = crops.reshape(-1, in_chans, *crops.shape[2:])
    scaled = np.stack([scale(one) for one in at_once])
    return np.asarray((scaled - MEAN) / SPREAD, dtype=np.float32).reshape(crops.shape)
