import numpy as np
import torch

from training import train_grader


def test_the_loss_is_least_for_the_right_answer():
    labels = torch.tensor([[0, 2], [1, -1]])
    right = torch.zeros(2, 2, 3)
    right[0, 0, 0] = right[0, 1, 2] = right[1, 0, 1] = 9.0
    batch = (None, None, None, labels, labels, torch.ones(2))
    values = [float(train_grader.loss(lambda *_, k=k: k * right, batch)) for k in (-1, 0, 1)]
    assert values[2] < values[1] < values[0]


def test_mixed_examples_are_trained_on_both_labels():
    labels, others = torch.tensor([[0]]), torch.tensor([[2]])
    logits = torch.log(torch.tensor([[[0.7, 0.1, 0.2]]]))
    batch = (None, None, None, labels, others)
    shares = [float(train_grader.loss(lambda *_: logits, (*batch, torch.tensor([share])))) for share in (1, 0)]
    assert np.allclose(shares, [-np.log(0.7), -np.log(0.2)], atol=1e-5)
