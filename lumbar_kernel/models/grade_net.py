"""A timm backbone that grades crops, and the scale on which it sees them."""

from __future__ import annotations

import numpy as np
import timm
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lumbar_kernel.resampling import normalise
from lumbar_kernel.schema import LEVELS, SEVERITIES


class GradeNet(nn.Module):
    """A timm backbone whose pooled features, with the level, predict one grade per head.

    Args:
        backbone: timm model name.
        in_chans: 1 for a member that looks at slices one by one, else the slices of a crop.
        heads: conditions graded.
    """

    def __init__(self, backbone: str, *, in_chans: int, heads: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.encoder = timm.create_model(backbone, pretrained=False, in_chans=in_chans, num_classes=0)
        self.in_chans, self.heads = in_chans, heads
        width = self.encoder.head_hidden_size if hasattr(self.encoder, "head_hidden_size") else None
        self.drop = nn.Dropout(drop_rate)
        self.level = nn.Linear(len(LEVELS), heads * len(SEVERITIES), bias=False)
        self.classifier = nn.Linear(width or self.encoder.num_features, heads * len(SEVERITIES))

    def forward(self, images: Tensor, level: Tensor) -> Tensor:
        """Logits: images (batch, in_chans, rows, columns), level (batch,) index → (batch, heads, 3)."""
        features = self.drop(self.encoder(images))
        known = F.one_hot(level, len(LEVELS)).to(features.dtype)
        logits: Tensor = self.classifier(features) + self.level(known)
        return logits.reshape(-1, self.heads, len(SEVERITIES))


def to_input(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a net sees of crops (..., slices, rows, columns): all slices of a crop on one scale around zero."""
    flat = crop.reshape(-1, *crop.shape[-3:]).astype(np.float32)
    scaled = np.stack([normalise(one) for one in flat])
    return np.asarray((scaled - 0.4) / 0.3, dtype=np.float32).reshape(crop.shape)
