import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn

from lumbar_kernel.models.same_padding import UncopiedConv, without_copies


@pytest.mark.parametrize("size", [(64, 64), (96, 144), (96, 100), (65, 63)])
@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "tf_mixnet_s", "tf_efficientnetv2_b0"])
def test_a_network_gives_the_same_without_copies(backbone, size):
    net = timm.create_model(backbone, pretrained=False, num_classes=4).eval()
    pictures = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = net(pictures)
        without_copies(net)
        assert torch.allclose(net(pictures), expected, rtol=1e-4, atol=1e-5)


def test_every_such_convolution_of_the_lite_networks_is_replaced():
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    before = sum(isinstance(module, Conv2dSame) for module in net.modules())
    without_copies(net)
    assert sum(isinstance(module, UncopiedConv) for module in net.modules()) == before > 0


@pytest.mark.parametrize(
    "convolution",
    [Conv2dSame(4, 4, 3, stride=1), Conv2dSame(4, 4, 2, stride=2), Conv2dSame(4, 4, 3, stride=2, dilation=2)],
)
def test_other_convolutions_are_left_alone(convolution):
    net = nn.Sequential(convolution)
    without_copies(net)
    assert net[0] is convolution
