import numpy as np
import torch
from torch import nn

from lumbar_kernel.localisation.slice_maps import FRAME, SliceMaps, frame_of, slice_maps
from lumbar_kernel.models import inference
from lumbar_kernel.models.heatmap_net import STRIDE
from lumbar_kernel.schema import SAGITTAL_T2


def test_the_frame_holds_the_whole_slice(phantom):
    for item in phantom.study.slices(SAGITTAL_T2)[:3]:
        rows, columns = item.plane.shape
        corners = item.plane.to_mm(np.array([[0, 0], [rows - 1, columns - 1]], float))
        inside = frame_of(item).to_pixel(corners)
        assert inside.min() >= -1
        assert inside.max() <= FRAME


def test_cell_centres_lie_on_the_slice_where_the_cells_are(phantom):
    item = phantom.study.slices(SAGITTAL_T2)[0]
    grid = frame_of(item)
    maps = SliceMaps(grid, np.zeros((1, FRAME // STRIDE, FRAME // STRIDE), np.float32))
    cells = np.array([0, 5, 63])
    points = maps.cell_centres(cells, cells[::-1].copy())
    assert np.allclose(item.plane.distance(points), 0, atol=1e-6)
    expected = np.stack([cells, cells[::-1]], axis=-1) * STRIDE + (STRIDE - 1) / 2
    assert np.allclose(grid.to_pixel(points), expected)


def test_networks_are_averaged_and_absence_is_left_out(phantom, monkeypatch):
    monkeypatch.setattr(inference, "CPU_PIXELS", 2 * FRAME**2)  # two batches

    class Constant(nn.Module):
        """Puts its probability into one cell of the only landmark and the rest into absence."""

        def __init__(self, probability):
            super().__init__()
            self.probability = nn.Parameter(torch.tensor(probability))

        def forward(self, pictures):
            cells = (pictures.shape[2] // STRIDE) * (pictures.shape[3] // STRIDE)
            maps = torch.full((len(pictures), 1, cells + 1), 1e-12)
            maps[:, :, 7], maps[:, :, -1] = self.probability, 1 - self.probability
            return maps.log()

    slices = phantom.study.slices(SAGITTAL_T2)[:3]
    for of_slice in slice_maps(slices, [Constant(0.2), Constant(0.6)]):
        assert of_slice.maps.shape == (1, FRAME // STRIDE, FRAME // STRIDE)
        assert np.isclose(of_slice.maps[0, 0, 7], 0.4)
        assert np.isclose(of_slice.maps.sum(), 0.4, atol=1e-6)
