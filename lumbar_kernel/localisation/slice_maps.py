"""Heatmaps of sagittal slices, with the position of every cell in patient mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.grids import upright_frame
from lumbar_kernel.intensities import normalise
from lumbar_kernel.models.heatmap_net import STRIDE, HeatmapNet, pixels_at
from lumbar_kernel.models.inference import batches, run_batch
from lumbar_kernel.models.manifest import LANDMARKS
from lumbar_kernel.resampling import sample
from lumbar_kernel.schema import LEVELS
from lumbar_kernel.study import Slice

FRAME = 256
"""Rows and columns of the square frame that every sagittal slice is brought to."""

POINTS = LANDMARKS["sagittal"]
"""Landmarks of sagittal slices."""

MARGINS, FORAMINA = range(len(LEVELS)), range(len(LEVELS), POINTS)
"""Their channels: the posterior disc margin of each level, then the foramen of each level."""


@dataclass(frozen=True, eq=False)
class SliceMaps:
    """Predicted heatmaps of one slice.

    Attributes:
        grid: the frame the slice was brought to.
        maps: (landmarks, cells, cells) probability of each landmark in each cell; sums to less than 1.
    """

    grid: SlicePlane
    maps: NDArray[np.float32]

    def cell_centres(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        """Patient points of heatmap cells: two (n,) index arrays → (n, 3) mm LPS."""
        cells = np.stack([rows, columns], axis=-1).astype(np.float64)
        return self.grid.to_mm(pixels_at(cells))


def frame_of(item: Slice) -> SlicePlane:
    """The frame around a sagittal slice."""
    return upright_frame(item.plane, FRAME, sagittal=True)


def slice_maps(slices: Sequence[Slice], nets: Sequence[HeatmapNet]) -> list[SliceMaps]:
    """Maps of sagittal slices, averaged over nets, one entry per slice."""
    grids = [frame_of(item) for item in slices]
    maps = heatmaps(slices, grids, nets)
    return [SliceMaps(grid=grid, maps=of_slice) for grid, of_slice in zip(grids, maps, strict=True)]


def heatmaps(slices: Sequence[Slice], grids: Sequence[SlicePlane], nets: Sequence[HeatmapNet]) -> NDArray[np.float32]:
    """Mean of nets on slices, sampled on grids of one shape: (n, landmarks, rows / 4, columns / 4) probabilities."""
    images = np.stack([normalise(sample(item, grid)) for item, grid in zip(slices, grids, strict=True)])
    count, rows, columns = images.shape
    found = []
    for block in batches(count, pixels=rows * columns, net=nets[0]):
        mean = run_batch(nets, torch.from_numpy(images[block])[:, None], combine=_mean_probabilities)
        found.append(mean.reshape(len(mean), -1, rows // STRIDE, columns // STRIDE).numpy())
    return np.concatenate(found)


def _mean_probabilities(outputs: Sequence[Tensor]) -> Tensor:
    """(batch, landmarks, cells) from the log-probabilities of each net, which end with absence."""
    return torch.stack([output.exp() for output in outputs]).mean(dim=0)[:, :, :-1]
