import numpy as np
import torch

from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import SEVERITY_WEIGHTS
from tests.conftest import BACKBONE
from training import train_grader
from training.auxiliary import AuxiliaryGradeNet


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


def test_auxiliary_heads_weigh_as_much_as_they_are_given():
    rng = np.random.default_rng(0)
    logits, targets = torch.from_numpy(rng.normal(size=(6, 5, 3))), torch.from_numpy(rng.dirichlet((1, 1, 1), (6, 5)))
    own, auxiliary = (
        train_grader.loss(lambda *_, heads=heads: logits[:, heads], (None, None, None, targets[:, heads]))
        for heads in (slice(2), slice(2, None))
    )
    model = AuxiliaryGradeNet(BACKBONE, in_chans=1, heads=2, auxiliary=3)
    model.every_head = lambda *_: logits
    value = train_grader.loss(model, (None, None, None, targets), auxiliary_weight=0.3)
    assert torch.isclose(value, own + 0.3 * auxiliary)


def test_auxiliary_labels_come_from_examples_of_the_same_recipe(tmp_path):
    """A cache may hold crops of a recipe in another resolution, with labels of its time."""
    for name in ("rsna_foramina", "rsna_axial", "rsna_foramina_fine", "phantom_canal_fine"):
        (tmp_path / f"{name}.npz").touch()
    for fine, wanted in ((False, {"rsna_foramina", "rsna_axial"}), (True, {"rsna_foramina_fine"})):
        assert {path.stem for path in train_grader._graded_files(tmp_path, ["competition"], fine=fine)} == wanted
