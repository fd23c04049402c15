import pytest
import torch
from torch import nn

from lumbar_kernel.models.compact_cnn import COMPACT_CNN
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.replicas import replicator


def grader(backbone):
    net = GradeNet(backbone, in_chans=1, heads=1).eval()
    return net, (torch.randn(2, 3, 64, 64), torch.tensor([0, 3]), torch.ones(2, 3, dtype=torch.bool))


def localiser(backbone):
    return HeatmapNet(backbone, points=2).eval(), (torch.randn(1, 1, 64, 64),)


@pytest.mark.parametrize(
    ("make", "backbone"),
    [
        (grader, COMPACT_CNN),
        (grader, "tf_efficientnet_lite0"),
        (grader, "convnext_atto"),
        (localiser, "mobilenetv3_small_050"),
        (localiser, "mobilenetv4_conv_small"),
    ],
)
def test_replicas_take_other_weights_without_touching_one_another(make, backbone):
    torch.manual_seed(0)
    net, inputs = make(backbone)
    other, _ = make(backbone)
    replicate = replicator(net)
    first, second = replicate(), replicate()
    second.load_state_dict({name: value.clone() for name, value in other.state_dict().items()}, assign=True)
    with torch.inference_mode():
        assert torch.equal(first(*inputs), net(*inputs))
        assert torch.equal(second(*inputs), other(*inputs))
    assert not set(map(id, first.modules())) & set(map(id, net.modules()))


def test_a_network_that_cannot_be_pickled_is_copied():
    net = nn.Sequential(nn.Linear(2, 2))
    net.local = lambda: None
    twin = replicator(net)()
    assert twin is not net
    assert torch.equal(twin[0].weight, net[0].weight)
