import numpy as np
import pytest
import torch

from lumbar_kernel.models.grade_net import to_input
from tests.training.conftest import grade_examples
from training.augment import Spatial
from training.grade_batches import BatchMaker, Sampler, Variation, _partners, arranged, sorted_for_net
from training.soft_targets import targets_of

SHAPE = (32, 48)
STILL = Spatial(shift=0, degrees=0, scale=1, aspect=1)


def sampler_and_maker(variation, *, in_chans=3):
    examples = grade_examples([str(k) for k in range(12)])
    sampler = Sampler(examples, {"axial_t2_crops": 1.0}, variation, shape=SHAPE, fold=1, batch=8, seed=3)
    targets = targets_of(examples, {}, share=0.5)
    return examples, sampler, BatchMaker(examples, targets, in_chans=in_chans, shape=SHAPE, device=torch.device("cpu"))


def test_a_step_always_draws_the_same_choices_and_never_the_fold_left_out():
    examples, sampler, _ = sampler_and_maker(Variation(Spatial(0.1, 10, 1.2, 1.1), beside=0.5, mixup_prob=0.5))
    for first, second in zip(sampler(5), sampler(5), strict=True):
        assert torch.equal(first, second)
    assert not set(sampler.pools.pools["axial_t2_crops"]) & set(np.flatnonzero(examples.fold == 1))


def test_a_batch_without_changes_shows_the_middle_of_the_crops_as_the_kernel_does():
    examples, sampler, make = sampler_and_maker(Variation(STILL))
    drawn = sampler(0)
    drawn = drawn._replace(
        **{name: torch.zeros_like(getattr(drawn, name)) for name in ("field", "blur", "noise")},
        gamma=torch.ones(8),
        patch=torch.full((8, 2), -1),
    )
    pictures, level, _, targets = make(drawn)
    stacks = examples.images[drawn.example[:, None], drawn.order]
    top, left = ((have - want) // 2 for have, want in zip(stacks.shape[2:], SHAPE, strict=True))
    middle = stacks[:, :, top : top + SHAPE[0], left : left + SHAPE[1]]
    assert np.allclose(pictures.numpy(), to_input(middle, in_chans=3), atol=0.02)
    assert np.array_equal(level, examples.level[drawn.example])
    assert np.array_equal(targets.argmax(dim=2), examples.labels[drawn.example])


@pytest.mark.parametrize("in_chans", [1, 3])
def test_pictures_are_scaled_for_the_net_as_in_the_kernel(in_chans):
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 255, (4, 3, 20, 30), dtype=np.uint8)
    crops[0] = 0
    crops[1, :, :10] = 0
    scaled = sorted_for_net(torch.from_numpy(crops).float(), in_chans=in_chans)
    assert np.allclose(scaled.numpy(), to_input(crops, in_chans=in_chans), atol=1e-5)


def test_changes_keep_pictures_finite_and_differ_between_examples():
    variation = Variation(Spatial(0.06, 12, 1.15, 1.08), beside=0.4, mixup_prob=0.5)
    _, sampler, make = sampler_and_maker(variation, in_chans=1)
    for step in range(5):
        drawn = sampler(step)
        pictures, _, shown, targets = make(drawn)
        assert pictures.shape == (8, 3, *SHAPE)
        assert torch.isfinite(pictures).all()
        assert shown[:, 1].all()
        assert torch.allclose(targets.sum(dim=2), torch.ones(8, 2))
        assert torch.equal((targets.amax(dim=2) < 1).any(dim=1) & (drawn.fraction == 1), torch.zeros(8, dtype=bool))
    assert pictures.std(dim=0).mean() > 0


def test_a_mixed_example_is_to_get_both_grades_by_the_fraction_of_each():
    examples, sampler, make = sampler_and_maker(Variation(STILL, mixup_prob=1.0))
    drawn = sampler(0)
    *_, targets = make(drawn)
    first, second = (
        torch.from_numpy(np.eye(3)[examples.labels[index]]) for index in (drawn.example, drawn.example[drawn.partner])
    )
    share = drawn.fraction[:, None, None]
    assert (drawn.fraction < 1).any()
    assert torch.allclose(targets.double(), share * first + (1 - share) * second, atol=1e-6)


def test_examples_are_mixed_within_their_level():
    level = np.array([0, 1, 0, 1, 2, 0])
    assert (level[_partners(level, np.random.default_rng(0))] == level).all()


@pytest.mark.parametrize("shown", [[1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0]])
def test_a_stack_is_arranged_from_slices_that_there_are_and_keeps_its_middle(shown):
    shown, variation = np.array(shown, bool), Variation(STILL, beside=0.5, missing=0.3)
    rng = np.random.default_rng(0)
    middles = set()
    for _ in range(200):
        order, there = arranged(shown, variation, rng)
        assert there[2]
        assert shown[order].all()
        assert (order[~there] == order[2]).all()
        assert len(set(order[there])) == there.sum()
        middles.add(int(order[2]))
    assert middles == {2} | {k for k in (1, 3) if shown[k]}
