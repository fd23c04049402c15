import numpy as np
import torch

from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import SEVERITY_WEIGHTS
from training import train_grader


def test_the_loss_is_least_for_the_right_answer():
    targets = torch.zeros(2, 2, 3)  # the second example has no grade for its second head
    targets[0, 0, 0] = targets[0, 1, 2] = targets[1, 0, 1] = 1.0
    batch = (None, None, None, targets)
    values = [float(train_grader.loss(lambda *_, k=k: 9.0 * k * targets, batch)) for k in (-1, 0, 1)]
    assert values[2] < values[1] < values[0]


def test_the_loss_is_the_metric_of_each_head():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, (40, 2)), rng.dirichlet((1, 1, 1), (40, 2))
    targets = torch.from_numpy(np.eye(3)[labels])
    value = train_grader.loss(lambda *_: torch.from_numpy(predicted).log(), (None, None, None, targets))
    assert np.isclose(float(value), np.mean([weighted_log_loss(labels[:, h], predicted[:, h]) for h in (0, 1)]))


def test_the_best_answer_to_a_distribution_is_the_one_that_the_metric_rewards():
    likely = torch.tensor([[[0.7, 0.2, 0.1]]])
    best = likely * torch.tensor(SEVERITY_WEIGHTS)
    logits = (best / best.sum()).log().requires_grad_()
    train_grader.loss(lambda *_: logits, (None, None, None, likely)).backward()
    assert torch.allclose(logits.grad, torch.zeros(3), atol=1e-6)
