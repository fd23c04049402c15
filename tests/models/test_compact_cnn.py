import pytest
import torch

from lumbar_kernel.models.compact_cnn import CompactCnn
from lumbar_kernel.models.folding import batch_norm_pairs
from lumbar_kernel.views import VIEWS


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return CompactCnn(in_chans=1, num_features=16).eval()


@pytest.fixture(scope="module")
def picture():
    return torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("view", VIEWS)
def test_a_picture_of_every_view_gives_the_same_number_of_features(encoder, view):
    with torch.inference_mode():
        assert encoder(torch.zeros(2, 1, *VIEWS[view].geometry.shape)).shape == (2, encoder.num_features)


@torch.inference_mode()
def test_the_middle_two_thirds_are_seen_and_nothing_else(encoder, picture):
    around, inside = picture.clone(), picture.clone()
    around[..., :16, :], around[..., -16:], inside[..., 16:20, 16:20] = 9.0, 9.0, 9.0
    assert torch.equal(encoder(around), encoder(picture))
    assert not torch.allclose(encoder(inside), encoder(picture))


@torch.inference_mode()
def test_each_place_of_the_last_map_has_weights_of_its_own(picture):
    encoder = CompactCnn(in_chans=1, num_features=1).eval()
    maps = encoder.grid(encoder.features(torch.nn.functional.avg_pool2d(picture[..., 16:80, 16:80], 2)))
    for row, column in ((0, 0), (1, 3)):
        weight = torch.zeros_like(maps[0])
        weight[:, row, column] = 1.0
        encoder.dense.weight.copy_(weight.reshape(1, -1))
        encoder.dense.bias.zero_()
        assert encoder(picture).item() == pytest.approx(maps[0, :, row, column].sum().item(), rel=1e-4)


def test_every_batch_norm_can_be_folded(encoder, picture):
    norms = [item for item in encoder.modules() if isinstance(item, torch.nn.BatchNorm2d)]
    assert len(batch_norm_pairs(encoder, picture)) == len(norms)
