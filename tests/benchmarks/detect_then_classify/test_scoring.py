import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.detect_then_classify.scoring import (
    found_figure,
    grade,
    loss_figure,
    places,
    training_prior,
)
from evaluation.array_rows import concatenate, select
from lumbar_kernel.schema import FORAMINAL, SEVERITY_WEIGHTS


class Certain(nn.Module):
    """Calls everything severe."""

    def forward(self, images):
        return torch.tensor([0.0, 0.0, 30.0]).expand(len(images), 3)


@pytest.fixture
def seen(pack):
    """Pictures of fold 0 with exact detections of the first three levels, the last picture of each study the surer."""
    pictures = np.flatnonzero(pack.fold == 0)
    found = np.full((len(pictures), 5, 3), np.nan)
    found[:, :3, :2] = pack.boxes[0][:3, 1:]
    found[:, :3, 2] = 0.3 + 0.5 * (pictures % 2)[:, None]
    found[:, 3:, 2] = 0.0
    return pictures, found, found[:0]


def test_rows_without_a_detection_get_the_prior_of_the_other_folds(pack, seen):
    constants = training_prior(pack, 0)
    for item in places(pack, *seen):
        rows = grade(item, pack, {FORAMINAL: Certain()}, constants=constants, device="cpu")
        level = np.array([int(row[-4]) - 1 for row in rows.row_id])
        assert (rows.found == ((level < 3) | (item.figure == "foraminal_marked"))).all()
        assert (rows.probabilities[rows.found, 2] > 0.999).all()
        wanted = np.stack([constants[row.partition("_left_")[2]] for row in rows.row_id])
        assert np.allclose(rows.probabilities[~rows.found], wanted[~rows.found])


def test_the_prior_is_the_best_constant_and_knows_nothing_of_its_fold(pack):
    constants = training_prior(pack, 0)
    rows = select(pack.rows, pack.fold[pack.rows.picture] != 0)
    for stratum, own in constants.items():
        weighted = np.array(SEVERITY_WEIGHTS)[rows.label[rows.stratum == stratum]]
        shares = [weighted[rows.label[rows.stratum == stratum] == grade].sum() for grade in range(3)]
        assert np.allclose(own, np.array(shares) / sum(shares), atol=1e-3)


def test_the_stack_takes_the_slice_with_the_surest_detection(pack, seen):
    stack = next(item for item in places(pack, *seen) if item.figure == "foraminal_stack")
    for source, target in zip(stack.sources, stack.rows.target, strict=True):
        index = next(k for k, picture in enumerate(pack.pictures) if picture is source)
        assert target > 2 or index % 2 == 1


def test_detections_near_their_mark_are_counted(pack, seen):
    pictures, found, _ = seen
    shifted = found.copy()
    shifted[:, 0, 0] += 0.2
    figure = found_figure(pack, pictures, shifted)
    assert figure["found"].mean() == pytest.approx(0.6)
    assert figure["near"].mean() == pytest.approx(0.4)


def test_figures_of_folds_are_put_together(pack, seen):
    item = next(iter(places(pack, *seen)))
    rows = grade(item, pack, {FORAMINAL: Certain()}, constants=training_prior(pack, 0), device="cpu")
    figure = loss_figure(concatenate([rows, rows]))
    assert figure["n"] == 2 * len(rows.labels)
    assert figure["studies"] == len(set(rows.study))
    assert figure["low"] <= figure["loss"] <= figure["high"]
    assert figure["accuracy"] == pytest.approx((rows.labels == 2).mean())
