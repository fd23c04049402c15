import numpy as np
import pytest
import torch

from lumbar_kernel.models.grade_net import GradeNet, to_input


def test_the_input_does_not_see_gain():
    crop = np.random.default_rng(0).integers(10, 120, (2, 3, 32, 32), dtype=np.uint8)
    assert np.allclose(to_input(crop), to_input(crop * 2), atol=1e-4)


@pytest.mark.parametrize("in_chans", [1, 3])
def test_every_head_gives_a_logit_for_each_grade_and_the_level_shifts_it(in_chans):
    torch.manual_seed(0)
    net = GradeNet("mobilenetv3_small_050", in_chans=in_chans, heads=2).eval()
    with torch.inference_mode():
        logits = net(torch.zeros(5, in_chans, 64, 64), torch.arange(5))
    assert logits.shape == (5, 2, 3)
    shift = net.level.weight.detach().T.reshape(5, 2, 3)
    assert torch.allclose(logits - logits[0], shift - shift[0], atol=1e-5)
