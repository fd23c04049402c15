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
    first, second = replicate(net.state_dict()), replicate(weights_of(other))
    with torch.inference_mode():
        assert torch.equal(first(*inputs), net(*inputs))
        assert torch.equal(second(*inputs), other(*inputs))
    assert second.state_dict().keys() == net.state_dict().keys()
    assert not set(map(id, first.modules())) & set(map(id, net.modules()))


def weights_of(net):
    """Weights as they are stored, without the counters of training."""
    state = net.state_dict()
    return {name: value.clone() for name, value in state.items() if not name.endswith("num_batches_tracked")}


def test_weights_of_another_architecture_are_refused():
    net, _ = grader(COMPACT_CNN)
    replicate, weights = replicator(net), weights_of(net)
    name = "classifier.bias"
    for wrong, word in (
        ({key: value for key, value in weights.items() if key != name}, name),
        (weights | {"more": weights[name]}, "more"),
        (weights | {name: weights[name][:-1]}, "shape"),
    ):
        with pytest.raises(ValueError, match=word):
            replicate(wrong)


@pytest.mark.parametrize("tied", [False, True])
def test_a_network_that_cannot_be_pickled_or_shares_weights_is_copied(tied):
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    if tied:
        net[1].weight = net[0].weight
    else:
        net.local = lambda: None
    weights = {name: value + 1 for name, value in net.state_dict().items()}
    twin = replicator(net)(weights)
    assert twin is not net
    assert all(torch.equal(value, weights[name]) for name, value in twin.state_dict().items())
    with pytest.raises(RuntimeError):
        replicator(net)({})
