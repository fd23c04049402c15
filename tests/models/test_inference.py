import pytest
import torch
from torch import nn

from lumbar_kernel.models.inference import MIN_PICTURES, PIXELS_AT_ONCE, batches, run_batch


@pytest.mark.parametrize("count", [1, 9, 15, 16, 20, 31, 32, 34, 100])
@pytest.mark.parametrize(("side", "pictures"), [(32, 1), (96, 5), (256, 1)])
def test_batches_are_equal_cover_everything_and_are_neither_too_small_nor_too_large(count, side, pictures):
    blocks = batches(count, pixels=side**2, net=nn.Linear(1, 1), pictures=pictures)
    sizes = [block.stop - block.start for block in blocks]
    assert [item for block in blocks for item in range(count)[block]] == list(range(count))
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) * pictures >= min(MIN_PICTURES, count * pictures)
    # one picture may always be computed, and too few for two batches are computed together
    assert (max(sizes) * pictures < 2 * MIN_PICTURES) or max(sizes) * pictures * side**2 <= PIXELS_AT_ONCE["cpu"]


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
    assert torch.allclose(run_batch(net, pictures, add), 2 * pictures + add[:, None, None, None])
    assert max(size for size in net.sizes if size <= 3) >= 2
    assert sum(size for size in net.sizes if size <= 3) == 11


def test_one_picture_that_does_not_fit_raises():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run_batch(Tight(0), torch.zeros(4, 1, 2, 2), torch.zeros(4))


class Loud(nn.Module):
    """A convolution whose result is too large for half precision."""

    def __init__(self, gain):
        super().__init__()
        self.convolution, self.gain, self.halves = nn.Conv2d(1, 1, 1), gain, []
        nn.init.constant_(self.convolution.weight, gain)

    def forward(self, pictures):
        predicted = self.convolution(pictures)
        self.halves.append(predicted.dtype == torch.float16)
        return predicted


@pytest.mark.parametrize(("gain", "halves"), [(1.0, [True]), (1e5, [True, False])])
def test_half_precision_that_overflows_is_computed_again_in_full(gain, halves):
    # values of fp16 precision, so that only the convolution rounds
    net, pictures = Loud(gain).eval(), torch.linspace(1, 2, 48).half().float().reshape(3, 1, 4, 4)
    nn.init.constant_(net.convolution.bias, 0.5)
    predicted = run_batch(net, pictures, mixed=True)
    assert net.halves == halves
    assert predicted.dtype == torch.float32
    assert torch.allclose(predicted, run_batch(net, pictures, mixed=False), rtol=1e-3)


def test_networks_compute_in_full_precision_unless_asked():
    class Watched(Loud):
        def forward(self, pictures):
            tf32.append(torch.backends.cudnn.allow_tf32)
            return super().forward(pictures)

    tf32, before = [], torch.backends.cudnn.allow_tf32
    net = Watched(1.0).eval()
    run_batch(net, torch.ones(1, 1, 4, 4))
    assert net.halves == tf32 == [False]
    assert torch.backends.cudnn.allow_tf32 == before
