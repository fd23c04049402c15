import pytest
import safetensors.torch
import torch

from lumbar_kernel.models.compact_cnn import COMPACT_CNN
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.storage import MAX_INT8, MIN_NUMBERS, SCALE, from_bytes, to_bytes


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return GradeNet(COMPACT_CNN, in_chans=1, heads=1).to(memory_format=torch.channels_last).state_dict()


def test_every_weight_comes_back_to_half_a_step_of_its_channel(state):
    restored = from_bytes(to_bytes(state))
    assert set(restored) == set(state)
    for name, value in state.items():
        assert restored[name].shape == value.shape
        if value.is_floating_point():
            step = value.abs().flatten(1).amax(dim=1) / MAX_INT8 if value.dim() > 1 else value.abs()
            off = (restored[name].float() - value).abs().reshape(len(step), -1) if value.dim() else torch.zeros(1, 1)
            assert (off <= 0.51 * step[:, None] + 1e-6).all() if value.dim() else True


def test_the_file_is_little_more_than_a_byte_a_number(state):
    numbers = sum(value.numel() for value in state.values())
    assert len(to_bytes(state)) < 1.35 * numbers


def test_a_channel_of_zeros_and_files_without_scales_are_read():
    weight = torch.zeros(64, 128)
    weight[1] = 1.0
    assert torch.equal(from_bytes(to_bytes({"w": weight}))["w"], weight)
    half = safetensors.torch.save({"w": weight.half(), "b" + SCALE: torch.ones(2)})
    assert torch.equal(from_bytes(half)["w"], weight)
    assert "b" + SCALE in from_bytes(half)


def test_bytes_that_are_no_file_raise():
    with pytest.raises(safetensors.SafetensorError):
        from_bytes(b"no weights")


def test_small_tensors_keep_half_precision():
    weight = torch.linspace(-1, 1, MIN_NUMBERS - 64).reshape(64, -1)
    assert torch.equal(from_bytes(to_bytes({"w": weight}))["w"], weight.half().float())
