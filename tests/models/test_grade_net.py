import numpy as np
import pytest
import torch

from lumbar_kernel.models.compact_cnn import COMPACT_CNN
from lumbar_kernel.models.grade_net import GradeNet, SlicePool, to_input


def test_the_input_does_not_see_gain():
    crop = np.random.default_rng(0).integers(10, 120, (2, 3, 32, 32), dtype=np.uint8)
    assert np.allclose(to_input(crop, in_chans=3), to_input(crop * 2, in_chans=3), atol=1e-4)


def test_slices_that_are_encoded_one_by_one_have_a_scale_each():
    crop = np.random.default_rng(0).integers(10, 120, (2, 3, 32, 32), dtype=np.uint8)
    brighter = crop.copy()
    brighter[:, 0] *= 2
    assert np.allclose(to_input(brighter, in_chans=1), to_input(crop, in_chans=1), atol=1e-4)
    assert not np.allclose(to_input(brighter, in_chans=3), to_input(crop, in_chans=3), atol=0.1)


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", COMPACT_CNN])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_every_head_gives_a_logit_for_each_grade_and_the_level_shifts_it(backbone, in_chans):
    torch.manual_seed(0)
    net = GradeNet(backbone, in_chans=in_chans, heads=2).eval()
    with torch.inference_mode():
        logits = net(torch.zeros(5, 3, 64, 64), torch.arange(5), torch.ones(5, 3, dtype=torch.bool))
    assert logits.shape == (5, 2, 3)
    shift = net.level.weight.detach().T.reshape(5, 2, 3)
    assert torch.allclose(logits - logits[0], shift - shift[0], atol=1e-5)


def test_pooling_weighs_the_slices_there_are_and_nothing_else():
    torch.manual_seed(0)
    pool, features = SlicePool(8), torch.randn(2, 5, 8)
    shown = torch.tensor([[True, True, True, True, True], [False, False, True, True, False]])
    pooled = pool(features[shown], shown)
    alone = torch.zeros(1, 5, dtype=torch.bool)
    alone[0, 2] = True
    assert torch.allclose(pool(features[:1, 2], alone), features[:1, 2])
    low, high = features[1, 2:4].amin(dim=0), features[1, 2:4].amax(dim=0)
    assert ((pooled[1] >= low - 1e-6) & (pooled[1] <= high + 1e-6)).all()
    turned = pool(features.flip(1)[shown.flip(1)], shown.flip(1))
    assert torch.allclose(turned, pooled, atol=1e-6)


def test_the_middle_of_alike_slices_weighs_most():
    pool = SlicePool(3)
    same = torch.ones(5, 3)
    shown = torch.ones(1, 5, dtype=torch.bool)
    same[2] = 2.0
    with torch.no_grad():
        for weight in pool.score.parameters():
            weight.zero_()
    assert pool(same, shown)[0, 0] > 1.4  # 1.2 if all weighed alike


def test_batches_with_missing_slices_look_alike_to_an_encoder_that_is_compiled():
    torch.manual_seed(0)
    nets = [GradeNet(COMPACT_CNN, in_chans=1, heads=1, fixed_count=fixed).eval() for fixed in (False, True)]
    nets[1].load_state_dict(nets[0].state_dict())
    compiled = []
    nets[1].encoder.compile(backend=lambda graph, _: compiled.append(graph) or graph)
    for missing in range(4):
        shown = torch.ones(4, 5, dtype=torch.bool)
        shown[:missing, 0] = False
        batch = (torch.rand(4, 5, 32, 32), torch.zeros(4, dtype=torch.long), shown)
        with torch.no_grad():
            assert torch.allclose(nets[0](*batch), nets[1](*batch), atol=1e-5)
    assert len(compiled) == 1


def test_slices_weigh_less_with_their_distance_up_to_the_second_from_the_middle():
    pool, shown = SlicePool(7), torch.ones(1, 7, dtype=torch.bool)
    with torch.no_grad():
        for weight in pool.score.parameters():
            weight.zero_()
        weights = pool(torch.eye(7), shown)[0]
    assert torch.allclose(weights, weights.flip(0))
    assert weights[3] > weights[2] > weights[1]
    assert torch.isclose(weights[1], weights[0])


def test_what_a_net_sees_lies_around_zero():
    crop = np.random.default_rng(0).integers(1, 256, (2, 3, 32, 32), dtype=np.uint8)
    seen = to_input(crop, in_chans=3)
    assert abs(seen.mean()) < 0.5
    assert 0.5 < seen.std() < 1.5
