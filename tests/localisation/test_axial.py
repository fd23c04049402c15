import numpy as np
import pytest
import torch
from torch import nn

from lumbar_kernel.localisation.axial import WINDOW_SHAPE, axial_views, window_of
from lumbar_kernel.models.heatmap_net import STRIDE
from lumbar_kernel.schema import AXIAL_T2
from lumbar_kernel.study import Study
from tests.conftest import make_slice

TILTED = (np.array([1.0, 0, 0]), np.array([0.0, np.cos(0.5), np.sin(0.5)]))


class Says(nn.Module):
    """A net that always points at the same two places of its window, or at none."""

    def __init__(self, places):
        super().__init__()
        self.places, self.unused = places, nn.Parameter(torch.zeros(1))

    def forward(self, pictures):
        columns = WINDOW_SHAPE[1] // STRIDE
        predicted = torch.full((len(pictures), 2, columns * WINDOW_SHAPE[0] // STRIDE + 1), 1e-9)
        predicted[:, :, -1] = 1.0
        for side, (row, column) in enumerate(self.places):
            predicted[:, side, row * columns + column] = 1.0
            predicted[:, side, -1] = 1e-9
        return predicted.log()


def test_the_window_is_upright_and_centred():
    item = make_slice(TILTED, origin=(-50, -50, 0), shape=(100, 100))
    grid = window_of(item, np.array([3.0, 4, 5]))
    middle = grid.to_mm((np.array(WINDOW_SHAPE) - 1) / 2)
    assert abs(float(item.plane.distance(middle))) < 1e-6
    assert grid.row_direction[0] > 0.99
    assert grid.column_direction[1] > 0.8


def test_every_level_of_a_phantom_gets_the_slice_through_its_disc(phantom, landmarks):
    views = axial_views(phantom.study, landmarks, [Says([(16, 20), (16, 11)])])
    slices = phantom.study.slices(AXIAL_T2)
    for level, view in enumerate(views):
        nearest = min(abs(float(item.plane.distance(landmarks.canal[level]))) for item in slices)
        if view is None:
            assert nearest > 5
        else:
            assert abs(float(view.item.plane.distance(landmarks.canal[level]))) < nearest + 3


def test_recesses_come_from_the_maps_left_on_the_left(phantom, landmarks):
    view = next(v for v in axial_views(phantom.study, landmarks, [Says([(16, 20), (16, 11)])]) if v)
    assert view.recesses[0, 0] > view.recesses[1, 0]
    assert np.allclose(view.grid.to_pixel(view.recesses[0]), (16.5 * STRIDE - 0.5, 20.5 * STRIDE - 0.5), atol=0.1)
    assert view.evidence.min() > 0.9


def test_recesses_without_maps_are_placed_around_the_canal(phantom, landmarks):
    views = axial_views(phantom.study, landmarks, [Says([])])
    view, canal = next((v, c) for v, c in zip(views, landmarks.canal, strict=True) if v)
    assert not view.evidence.any()
    assert np.linalg.norm(view.centre - canal) < 12


@pytest.mark.parametrize("roles", [(), ("Sagittal T1",)])
def test_without_axial_series_there_are_no_views(phantom, landmarks, roles):
    study = Study("1", tuple(series for series in phantom.study.series if series.role in roles))
    assert axial_views(study, landmarks, [Says([])]) == (None,) * 5
