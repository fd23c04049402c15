import numpy as np
import pytest
import torch

from lumbar_kernel.models.heatmap_net import HeatmapNet, cells_at, pixels_at


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "mobilenetv4_conv_small"])
@pytest.mark.parametrize("shape", [(64, 64), (64, 96)])
def test_each_landmark_has_one_distribution_over_cells_and_absence(backbone, shape):
    net = HeatmapNet(backbone, points=3).eval()
    predicted = net(torch.rand(2, 1, *shape))
    assert predicted.shape == (2, 3, shape[0] * shape[1] // 16 + 1)
    assert torch.allclose(predicted.exp().sum(dim=2), torch.ones(2, 3), atol=1e-4)


def test_a_prediction_does_not_depend_on_the_rest_of_its_batch():
    net = HeatmapNet("mobilenetv3_small_050", points=2).eval()
    pictures = torch.rand(3, 1, 64, 64)
    assert torch.allclose(net(pictures)[1:2], net(pictures[1:2]), atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_keep_the_layout_of_the_pictures_and_are_the_same_in_both(layout):
    torch.manual_seed(0)
    net, pictures = HeatmapNet("mobilenetv3_small_050", points=2).eval(), torch.rand(2, 1, 64, 96)
    expected, kept = net(pictures.contiguous()), []
    for block in net.smooth:
        block.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].is_contiguous(memory_format=layout)))
    net.to(memory_format=layout)
    assert torch.allclose(net(pictures.contiguous(memory_format=layout)), expected, atol=1e-4)
    assert kept == [True] * len(net.smooth)


def test_cells_lie_in_the_middle_of_their_pixels():
    assert pixels_at(np.array([0.0, 1, 63])).tolist() == [1.5, 5.5, 253.5]
    assert cells_at(np.array([1.5, 5.5, 253.5])).tolist() == [0, 1, 63]
