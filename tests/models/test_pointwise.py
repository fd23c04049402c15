import pytest
import torch
from torch import nn

from lumbar_kernel.models.compact_cnn import COMPACT_CNN
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.pointwise import PointwiseConv, prepare_for_accelerator


def pointwise(net):
    """1×1 convolutions that are left."""
    return [item for item in net.modules() if isinstance(item, nn.Conv2d) and item.kernel_size == (1, 1)]


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "tf_efficientnet_lite0", "convnext_atto", COMPACT_CNN])
def test_a_grader_on_an_accelerator_gives_the_same_grades(backbone):
    torch.manual_seed(0)
    net = GradeNet(backbone, in_chans=3, heads=2).eval().to(memory_format=torch.channels_last)
    inputs = (torch.randn(2, 3, 64, 96), torch.tensor([0, 4]), torch.ones(2, 3, dtype=torch.bool))
    with torch.inference_mode():
        expected = net(*inputs)
        prepare_for_accelerator(net)
        assert torch.allclose(net(*inputs), expected, atol=1e-5)
    assert not pointwise(net)


def test_so_does_a_localiser_and_being_prepared_twice_changes_nothing():
    torch.manual_seed(0)
    net = HeatmapNet("mobilenetv3_small_050", points=3).eval()
    pictures = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected = net(pictures)
        for _ in range(2):
            prepare_for_accelerator(net)
            assert torch.allclose(net(pictures), expected, atol=1e-5)
    assert not pointwise(net)
    assert all(value.is_contiguous() for value in net.state_dict().values())


@pytest.mark.parametrize("options", [{"stride": 2}, {"padding": 1}, {"groups": 2}, {"kernel_size": 3}])
def test_other_convolutions_stay(options):
    net = nn.Sequential(nn.Conv2d(4, 4, **{"kernel_size": 1, **options}))
    prepare_for_accelerator(net)
    assert not isinstance(net[0], PointwiseConv)
