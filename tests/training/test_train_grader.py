from dataclasses import replace

import numpy as np
import pytest
import torch

from training import train_grader


def test_the_loss_is_least_for_the_right_answer():
    labels = torch.tensor([[0, 2], [1, -1]])
    right = torch.zeros(2, 2, 3)
    right[0, 0, 0] = right[0, 1, 2] = right[1, 0, 1] = 9.0
    batch = (None, None, None, labels, labels, torch.ones(2))
    values = [float(train_grader.loss(lambda *_, k=k: k * right, batch)) for k in (-1, 0, 1)]
    assert values[2] < values[1] < values[0]


def test_mixed_examples_are_trained_on_both_labels_and_mixed_within_their_level():
    labels, others = torch.tensor([[0]]), torch.tensor([[2]])
    logits = torch.log(torch.tensor([[[0.7, 0.1, 0.2]]]))
    batch = (None, None, None, labels, others)
    shares = [float(train_grader.loss(lambda *_: logits, (*batch, torch.tensor([share])))) for share in (1, 0)]
    assert np.allclose(shares, [-np.log(0.7), -np.log(0.2)], atol=1e-5)
    level = np.array([0, 1, 0, 1, 2, 0])
    assert (level[train_grader._partners(level, np.random.default_rng(0))] == level).all()


@pytest.mark.parametrize("shown", [[1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0]])
def test_a_stack_is_arranged_from_slices_that_there_are_and_keeps_its_middle(shown):
    shown, task = np.array(shown, bool), replace(train_grader.TASKS["foraminal"], beside=0.5, missing=0.3)
    rng = np.random.default_rng(0)
    middles = set()
    for _ in range(200):
        order, there = train_grader.arranged(shown, task, rng)
        assert there[2]
        assert shown[order].all()
        assert (order[~there] == order[2]).all()
        assert len(set(order[there])) == there.sum()
        middles.add(int(order[2]))
    assert middles == {2} | {k for k in (1, 3) if shown[k]}
