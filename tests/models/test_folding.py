import pytest
import timm
import torch
from torch import nn

from lumbar_kernel.models.folding import batch_norm_pairs, fold
from lumbar_kernel.models.heatmap_net import HeatmapNet

PICTURES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def trained(net):
    """The network with batch norms as training leaves them, far from the identity."""
    generator = torch.Generator().manual_seed(2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) / 10)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            nn.init.normal_(module.weight, 1.0, 0.1, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.1, generator=generator)
    return net.eval()


def norms(net):
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.mark.parametrize(
    "backbone",
    ["mobilenetv3_small_050", "tf_efficientnet_lite0", "resnet18", "edgenext_xx_small", "regnety_002", "lcnet_050"],
)
def test_folding_leaves_outputs_as_they_are(backbone):
    net = trained(timm.create_model(backbone, pretrained=False, num_classes=4))
    expected, before = net(PICTURES), norms(net)
    pairs = batch_norm_pairs(net, PICTURES)
    assert torch.equal(net(PICTURES), expected)  # finding the pairs changes nothing
    fold(net, pairs)
    assert torch.allclose(net(PICTURES), expected, rtol=1e-3, atol=1e-4)
    assert norms(net) == before - len(pairs)
    assert len(pairs) >= 0.9 * before


def test_the_localiser_loses_all_its_batch_norms():
    net = trained(HeatmapNet("mobilenetv3_small_050", points=2))
    expected = net(PICTURES[:, :1])
    fold(net, batch_norm_pairs(net, PICTURES[:, :1]))
    assert norms(net) == 0
    assert torch.allclose(net(PICTURES[:, :1]), expected, rtol=1e-3, atol=1e-4)


class Shared(nn.Module):
    """Applies one convolution twice, each time with a batch norm of its own."""

    def __init__(self):
        super().__init__()
        self.convolution, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, pictures):
        return self.second(self.convolution(self.first(self.convolution(pictures))))


class Apart(nn.Module):
    """Has an activation between its convolution and its batch norm."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, pictures):
        return self.norm(self.convolution(pictures).relu())


@pytest.mark.parametrize("net", [Shared(), Apart()], ids=lambda net: type(net).__name__)
def test_what_cannot_be_folded_is_left_alone(net):
    assert batch_norm_pairs(trained(net), PICTURES) == ()


def test_a_network_without_batch_norms_needs_no_forward_pass():
    assert batch_norm_pairs(nn.Linear(2, 2), PICTURES) == ()


def test_hooks_are_removed_also_when_the_forward_pass_fails():
    net = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(1, 1)))
    with pytest.raises(RuntimeError):
        batch_norm_pairs(net, PICTURES)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
