import numpy as np
import torch
from torch import nn

from lumbar_kernel.localisation.slice_maps import FRAME, SHOWN, SliceMaps, frame_of, slice_maps
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


class Constant(nn.Module):
    """Puts a probability into one cell of the only landmark and the rest into absence; counts what it is shown.

    Every second slice can get another probability.
    """

    def __init__(self, probability, *, every_second=None):
        super().__init__()
        self.probability = nn.Parameter(torch.tensor([probability, every_second or probability]))
        self.pictures = 0

    def forward(self, pictures):
        cells = (pictures.shape[2] // STRIDE) * (pictures.shape[3] // STRIDE)
        maps = torch.full((len(pictures), 1, cells + 1), 1e-12)
        of_slice = self.probability[(self.pictures + torch.arange(len(pictures))) % 2]
        maps[:, 0, 7], maps[:, 0, -1] = of_slice, 1 - of_slice
        self.pictures += len(pictures)
        return maps.log()


def test_networks_are_averaged_and_absence_is_left_out(phantom, monkeypatch):
    monkeypatch.setattr(inference, "LEAST_PICTURES", 1)
    monkeypatch.setitem(inference.PIXELS_AT_ONCE, "cpu", 2 * FRAME**2)  # two batches
    slices = phantom.study.slices(SAGITTAL_T2)[:3]
    for of_slice in slice_maps(slices, [Constant(0.2), Constant(0.6), Constant(0.4)]):
        assert of_slice.maps.shape == (1, FRAME // STRIDE, FRAME // STRIDE)
        assert np.isclose(of_slice.maps[0, 0, 7], 0.4)
        assert np.isclose(of_slice.maps.sum(), 0.4, atol=1e-6)


def test_a_slice_without_a_landmark_is_shown_to_the_first_network_alone(phantom):
    slices = phantom.study.slices(SAGITTAL_T2)[:5]
    nets = [Constant(0.2, every_second=SHOWN / 2), Constant(0.6)]
    found = [of_slice.maps[0, 0, 7] for of_slice in slice_maps(slices, nets)]
    assert np.allclose(found, [0.4, SHOWN / 2, 0.4, SHOWN / 2, 0.4])
    assert [net.pictures for net in nets] == [5, 3]


def test_where_no_slice_shows_a_landmark_the_other_networks_are_not_asked(phantom):
    nets = [Constant(SHOWN / 2), Constant(0.6)]
    slice_maps(phantom.study.slices(SAGITTAL_T2)[:2], nets)
    assert [net.pictures for net in nets] == [2, 0]
