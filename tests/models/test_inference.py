import math

import pytest
import torch
from torch import nn

from lumbar_kernel.models.inference import CPU_PIXELS, batches, run_batch


@pytest.mark.parametrize("count", [0, 1, 9, 16, 20, 31, 34, 100])
@pytest.mark.parametrize(("side", "pictures"), [(32, 1), (96, 5), (256, 1), (2048, 1)])
def test_batches_are_equal_cover_everything_and_are_not_too_large(count, side, pictures):
    blocks = batches(count, pixels=side**2, net=nn.Linear(1, 1), images=pictures)
    sizes = [block.stop - block.start for block in blocks]
    assert [item for block in blocks for item in range(count)[block]] == list(range(count))
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    room = CPU_PIXELS // (pictures * side**2)
    assert all(size <= max(1, room) for size in sizes)  # one may always be computed
    assert len(blocks) == math.ceil(count / max(1, room))


class Tight(nn.Module):
    """Doubles its pictures, but runs out of memory for more than `room` at once."""

    def __init__(self, room):
        super().__init__()
        self.room, self.sizes = room, []
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, pictures, add):
        self.sizes.append(len(pictures))
        if len(pictures) > self.room:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return self.factor * pictures + add[:, None, None, None]


def test_a_batch_is_halved_until_it_fits_and_keeps_its_order():
    net, pictures, add = Tight(3), torch.randn(11, 1, 2, 2), torch.arange(11.0)
    assert torch.allclose(run_batch([net], pictures, add, combine=torch.cat), 2 * pictures + add[:, None, None, None])
    assert max(size for size in net.sizes if size <= 3) >= 2
    assert sum(size for size in net.sizes if size <= 3) == 11


def test_the_outputs_of_all_nets_are_combined_and_keep_the_order_of_a_halved_batch():
    nets, pictures, add = [Tight(3), Tight(2)], torch.randn(7, 1, 2, 2), torch.arange(7.0)
    nets[1].factor.data.fill_(5.0)
    found = run_batch(nets, pictures, add, combine=lambda outputs: torch.stack(outputs, dim=1))
    expected = torch.stack([factor * pictures + add[:, None, None, None] for factor in (2, 5)], dim=1)
    assert torch.allclose(found, expected)


def test_one_picture_that_does_not_fit_raises():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run_batch([Tight(0)], torch.zeros(4, 1, 2, 2), torch.zeros(4), combine=torch.cat)


class Watched(nn.Module):
    """A convolution that notes whether it may use TF32."""

    def __init__(self):
        super().__init__()
        self.convolution, self.tf32 = nn.Conv2d(1, 1, 1), []

    def forward(self, pictures):
        self.tf32.append(torch.backends.cudnn.allow_tf32)
        return self.convolution(pictures)


def test_networks_compute_in_full_precision():
    net, before = Watched().eval(), torch.backends.cudnn.allow_tf32
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        assert run_batch([net], torch.ones(1, 1, 4, 4), combine=torch.cat).dtype == torch.float32
    assert net.tf32 == [False]
    assert torch.backends.cudnn.allow_tf32 == before
