import pytest
import torch

from lumbar_kernel.models import grade_net, heatmap_net
from lumbar_kernel.models.batch_sizes import SIZES, STEP, fill, filled, planned_size


def test_a_planned_size_holds_all_pictures_and_there_are_few():
    sizes = [planned_size(count) for count in range(1, 2000)]
    assert all(size >= count for count, size in enumerate(sizes, 1))
    assert set(sizes[: SIZES[-1]]) == set(SIZES)
    assert all(size % STEP == 0 for size in sizes[SIZES[-1] :])


def test_pictures_are_kept_and_followed_by_copies():
    pictures = torch.rand(3, 2, 8, 8).contiguous(memory_format=torch.channels_last)
    more = fill(pictures, 5)
    assert torch.equal(more[:3], pictures)
    assert torch.equal(more[3], pictures[2])
    assert more.is_contiguous(memory_format=torch.channels_last)
    assert filled(pictures) is pictures, "a processor needs no planned size"


@pytest.mark.parametrize("module", [grade_net, heatmap_net])
def test_networks_give_as_many_outputs_as_pictures_and_the_same_ones(module, monkeypatch):
    torch.manual_seed(0)
    if module is grade_net:
        net = grade_net.GradeNet("mobilenetv3_small_050", in_chans=1, heads=1).eval()
        shown = torch.tensor([[True, True, False], [False, True, False]])
        inputs = (torch.rand(2, 3, 64, 64), torch.tensor([0, 4]), shown)
    else:
        net = heatmap_net.HeatmapNet("mobilenetv3_small_050", points=2).eval()
        inputs = (torch.rand(2, 1, 64, 64),)
    with torch.inference_mode():
        expected = net(*inputs)
        monkeypatch.setattr(module, "filled", lambda pictures: fill(pictures, 7))
        found = net(*inputs)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-4)
