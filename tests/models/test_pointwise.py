import pytest
import torch
from torch import nn

from lumbar_kernel.models.compact_cnn import COMPACT_CNN
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.pointwise import PointwiseConv, prepare_for_accelerator, prepare_for_processor


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


def used_for(net, pictures):
    """Names of the operations that torch computes a network with."""
    with torch.inference_mode(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        net(pictures)
    return {event.key for event in profile.key_averages()}


def test_on_a_processor_few_pictures_are_computed_as_many_are_and_give_the_same():
    torch.manual_seed(0)
    net = HeatmapNet("mobilenetv3_small_050", points=3).eval().to(memory_format=torch.channels_last)
    pictures = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected = net(pictures)
        prepare_for_processor(net)
        assert torch.allclose(net(pictures), expected, atol=1e-5)
        prepare_for_accelerator(net)
        assert torch.allclose(net(pictures), expected, atol=1e-5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_on_one_thread_one_dnn_computes_the_1_by_1_convolutions_of_few_pictures():
    net, pictures = nn.Sequential(nn.Conv2d(8, 8, 1)).eval(), torch.randn(2, 8, 16, 16)
    prepare_for_processor(net)
    assert "aten::mkldnn_convolution" in used_for(net, pictures)


@pytest.mark.parametrize("options", [{"stride": 2}, {"padding": 1}, {"groups": 2}, {"kernel_size": 3}])
def test_other_convolutions_stay(options):
    net = nn.Sequential(nn.Conv2d(4, 4, **{"kernel_size": 1, **options}))
    prepare_for_processor(net)
    assert net[0].dilation == (1, 1)
    prepare_for_accelerator(net)
    assert not isinstance(net[0], PointwiseConv)
