"""Batches of augmented crops: what changes is drawn ahead, example by example, and applied on the training device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lumbar_kernel.intensities import BRIGHTEST, MIN_PIXELS, NORMAL_PERCENTILES
from lumbar_kernel.models.grade_net import MEAN, SPREAD, to_input
from training.augment import Spatial, draw_matrix
from training.examples import GradeExamples
from training.trainer import Batch, Pools

ALONE = 0.15
"""How often the middle slice replaces its neighbours, as at the edge of a series and in single slices."""

ERASED = 0.3
"""How often random erasing hides a patch, so that no single texture decides."""

STRENGTH = 0.7
"""Of the changes of the signal, relative to those that `augment.vary_signal` gives a localiser."""

BLUR_TAPS = 9
"""Width of a blur, pixels: four standard deviations of the largest one to each side."""


@dataclass(frozen=True)
class Variation:
    """What may change in an example.

    Attributes:
        spatial: ranges of the spatial augmentation.
        beside: how often the middle of a stack moves by one slice, as where the localiser is off by one.
        missing: how often each slice of a stack is left out, of those that `GradeNet` can do without.
        mixup_prob: fraction of examples to which mixup with another of their level is applied.
    """

    spatial: Spatial
    beside: float = 0.0
    missing: float = 0.0
    mixup_prob: float = 0.0


class Draws(NamedTuple):
    """The random choices of a batch of n examples with s slices.

    Attributes:
        example: (n,) index of each.
        order: (n, s) slice that takes each place.
        shown: (n, s) bool, which places have a slice of their own.
        matrix: (n, 2, 3) affine map from a pixel (x, y) of the window to one of the stored crop.
        gamma: (n,) exponent of the signal.
        field: (n, 4, 4) logarithm of a bias field.
        blur: (n,) standard deviation in pixels, 0 for none.
        noise: (n,) standard deviation.
        patch: (n, 2) row and column of the patch that random erasing hides, -1 for none.
        partner: (n,) place in the batch of the example that is mixed in.
        fraction: (n,) weight of the first of the two.
    """

    example: Tensor
    order: Tensor
    shown: Tensor
    matrix: Tensor
    gamma: Tensor
    field: Tensor
    blur: Tensor
    noise: Tensor
    patch: Tensor
    partner: Tensor
    fraction: Tensor


class Sampler:
    """Draws the random choices of batches from the training folds, each source with its weight; holds no picture.

    Args:
        examples: crops with grades, wider than the window.
        weights: source → weight in a batch.
        variation: what may change.
        shape: rows and columns of the window.
        fold: left out.
        batch: examples of a step.
        seed: of all draws.
    """

    def __init__(
        self,
        examples: GradeExamples,
        weights: dict[str, float],
        variation: Variation,
        *,
        shape: tuple[int, int],
        fold: int,
        batch: int,
        seed: int,
    ) -> None:
        self.shown, self.level, self.stored = examples.shown, examples.level, examples.images.shape[2:]
        self.variation, self.shape, self.batch, self.seed = variation, shape, batch, seed
        self.pools = Pools(examples.source, examples.fold, weights, fold=fold)

    def __call__(self, step: int) -> Draws:
        """The choices of a step; the same step gives the same ones."""
        rng = np.random.default_rng((self.seed, step))
        count, window = self.batch, np.array(self.shape)
        index = self.pools.draw(rng, count)
        arrangements = [arranged(self.shown[one], self.variation, rng) for one in index]
        order, shown = (np.stack(part) for part in zip(*arrangements, strict=True))
        maps = [draw_matrix(rng, self.variation.spatial, self.stored, self.shape) for _ in index]
        chance = rng.random((6, count))
        fields = rng.normal(0, 0.25 * STRENGTH, (count, 4, 4))
        corners = np.floor(rng.random((count, 2)) * (window - window // 4)).astype(np.int64)
        drawn = {
            "example": index,
            "order": order,
            "shown": shown,
            "matrix": np.stack([cv2.invertAffineTransform(one) for one in maps]),
            "gamma": np.where(chance[0] < 0.8, np.exp(rng.normal(0, 0.25 * STRENGTH, count)), 1.0),
            "field": np.where(chance[1] < 0.7, 1.0, 0.0)[:, None, None] * fields,
            "blur": np.where(chance[2] < 0.3 * STRENGTH, rng.uniform(0.4, 1.2, count), 0.0),
            "noise": np.where(chance[3] < 0.5, rng.uniform(0.005, 0.05 * STRENGTH, count), 0.0),
            "patch": np.where(chance[4][:, None] < ERASED, corners, -1),
            "partner": _partners(self.level[index], rng),
            "fraction": np.where(chance[5] < self.variation.mixup_prob, rng.beta(0.4, 0.4, count), 1.0),
        }
        return Draws(**{name: _tensor(value) for name, value in drawn.items()})


class BatchMaker:
    """Makes the batches that a `Sampler` has drawn.

    Args:
        examples: those of the sampler.
        targets: (n, heads, 3) distribution over the grades for each of them, zeros where there is none.
        in_chans: as in `GradeNet`.
        shape: rows and columns of the window.
        device: where the crops are kept and the batches made.
    """

    def __init__(
        self,
        examples: GradeExamples,
        targets: NDArray[np.float32],
        *,
        in_chans: int,
        shape: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.in_chans, self.shape = in_chans, shape
        self.images, self.level, self.targets = (
            torch.from_numpy(values).to(device)
            for values in (examples.images, examples.level.astype(np.int64), targets)
        )

    def __call__(self, drawn: Draws) -> Batch:
        """Pictures, levels, slices there are, distributions over the grades."""
        # The pictures keep single precision where the net does not.
        with torch.no_grad(), torch.autocast("cuda", enabled=False):
            stacks = self.images[drawn.example[:, None], drawn.order].float()
            pictures = _varied(_moved(stacks, drawn.matrix, self.shape).round() / 255, drawn)
            pictures = scaled_for_net(pictures, in_chans=self.in_chans)
            broad = drawn.fraction[:, None, None, None]
            pictures = broad * pictures + (1 - broad) * pictures[drawn.partner]
            shown = drawn.shown | (drawn.shown[drawn.partner] & (drawn.fraction < 1)[:, None])
            targets = self.targets[drawn.example]
            return (
                pictures.contiguous(memory_format=torch.channels_last),
                self.level[drawn.example],
                shown,
                broad[..., 0] * targets + (1 - broad[..., 0]) * targets[drawn.partner],
            )


def arranged(
    shown: NDArray[np.bool_], variation: Variation, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """A random arrangement of a stack's slices.

    Args:
        shown: (slices,) which slices there are, the middle one among them.
        variation: says how often slices are moved and left out.
        rng: draws.

    Returns:
        (slices,) index of the slice that takes each place, the middle one's where there is none, and (slices,) bool,
        which places have a slice of their own.
    """
    slices = len(shown)
    middle = slices // 2
    step = 0
    if rng.random() < variation.beside:
        step = int(rng.choice([-1, 1]))
        step = step if shown[middle + step] else 0
    order = np.arange(slices) + step
    inside = (order >= 0) & (order < slices)
    there = inside & shown[np.where(inside, order, middle)]
    there &= (rng.random(slices) >= variation.missing) | (np.arange(slices) == middle)
    if rng.random() < ALONE:
        there = np.arange(slices) == middle
    order = np.where(there, order, middle + step)
    return (order, there) if rng.random() < 0.5 else (order[::-1], there[::-1])  # neighbours may come in either order


def scaled_for_net(pictures: Tensor, *, in_chans: int) -> Tensor:
    """What a net sees of pictures (n, slices, rows, columns): as `grade_net.to_input`, on any device."""
    if pictures.device.type == "cpu":  # which selects faster than it sorts
        return torch.from_numpy(to_input(pictures.numpy(), in_chans=in_chans))
    return sorted_for_net(pictures, in_chans=in_chans)


def sorted_for_net(pictures: Tensor, *, in_chans: int) -> Tensor:
    """The same by sorting, which accelerators do well."""
    at_once = pictures.reshape(-1, in_chans * pictures[0, 0].numel())
    ranked = at_once.sort(dim=1).values
    positive = (at_once > 0).sum(dim=1, keepdim=True)
    low, high = (_ranked_percentile(ranked, positive, percent / 100) for percent in NORMAL_PERCENTILES)
    scaled = ((at_once - low) / (high - low).clamp(min=1e-6)).clamp(0.0, BRIGHTEST)
    scaled = torch.where(positive < MIN_PIXELS, 0.0, scaled)
    return ((scaled - MEAN) / SPREAD).reshape(pictures.shape)


def _ranked_percentile(ranked: Tensor, positive: Tensor, fraction: float) -> Tensor:
    """Percentile of the last `positive` (n, 1) of ascending values (n, m), between neighbours as in NumPy."""
    place = fraction * (positive - 1).clamp(min=0)
    below = place.floor().long()
    above = torch.minimum(below + 1, (positive - 1).clamp(min=0))
    first = ranked.shape[1] - positive.clamp(min=1)
    return torch.lerp(ranked.gather(1, first + below), ranked.gather(1, first + above), place - below)


def _moved(stacks: Tensor, matrix: Tensor, shape: tuple[int, int]) -> Tensor:
    """Windows of stored crops (n, slices, rows, columns) under affine maps, edges mirrored."""
    rows, columns = (torch.arange(size, device=stacks.device, dtype=torch.float32) for size in shape)
    pixel = torch.stack([*torch.meshgrid(columns, rows, indexing="xy"), torch.ones(shape, device=stacks.device)])
    place = torch.einsum("nik,krc->nrci", matrix, pixel)
    last = torch.tensor(stacks.shape[:1:-1], device=stacks.device) - 1
    return F.grid_sample(stacks, 2 * place / last - 1, padding_mode="reflection", align_corners=True)


def _varied(pictures: Tensor, drawn: Draws) -> Tensor:
    """Gamma, bias field, blur, noise and random erasing on pictures (n, slices, rows, columns) with values 0..1."""
    varied = pictures.clamp(min=0) ** drawn.gamma[:, None, None, None]
    field = F.interpolate(drawn.field[:, None], pictures.shape[2:], mode="bilinear")
    varied = _blurred(varied * field.exp(), drawn.blur)
    noisy = drawn.noise > 0
    varied[noisy] += drawn.noise[noisy, None, None, None] * torch.randn_like(varied[noisy])
    rows, columns = pictures.shape[2:]
    down, along = torch.arange(rows, device=varied.device), torch.arange(columns, device=varied.device)
    from_top, from_left = down - drawn.patch[:, :1], along - drawn.patch[:, 1:]
    hidden = ((from_top >= 0) & (from_top < rows // 4))[:, :, None] & ((from_left >= 0) & (from_left < columns // 4))[
        :, None
    ]
    hidden &= drawn.patch[:, :1, None] >= 0
    return torch.where(hidden[:, None], varied.mean(dim=(1, 2, 3), keepdim=True), varied)


def _blurred(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Pictures (n, slices, rows, columns) under Gaussians of their own width; 0 leaves one as it is."""
    apart = torch.arange(BLUR_TAPS, device=pictures.device) - BLUR_TAPS // 2
    taps = torch.exp(-0.5 * (apart / sigma.clamp(min=1e-3)[:, None]) ** 2)
    taps = taps / taps.sum(dim=1, keepdim=True)
    half, count = BLUR_TAPS // 2, len(pictures)
    at_once = F.pad(pictures, (half, half, half, half), mode="reflect").transpose(0, 1)
    across = F.conv2d(at_once, taps[:, None, None, :], groups=count)
    return F.conv2d(across, taps[:, None, :, None], groups=count).transpose(0, 1)


def _partners(level: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.intp]:
    """For each example of a batch another of its level to mix with; itself where it is the only one."""
    partner = np.arange(len(level))
    for value in np.unique(level):
        same_level = np.flatnonzero(level == value)
        partner[same_level] = rng.permutation(same_level)
    return partner


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32 if values.dtype == np.float64 else values.dtype))
