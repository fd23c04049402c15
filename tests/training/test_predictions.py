from dataclasses import replace

import numpy as np
import pytest
import torch

from lumbar_kernel.models.grade_net import GradeNet
from tests.training.conftest import grade_examples
from training.predictions import rows_of_head, window_grades


def test_crops_that_are_wider_than_the_window_are_graded_in_their_middle():
    torch.manual_seed(0)
    net, examples = GradeNet("mobilenetv3_small_050", in_chans=3, heads=2).eval(), grade_examples(["a", "b"])
    images = examples.images.copy()
    images[:, :, :10], images[:, :, :, -10:] = 9, 200
    before, after = (window_grades([net], one, (64, 96)) for one in (examples, replace(examples, images=images)))
    assert np.array_equal(before, after)
    assert not np.array_equal(window_grades([net], replace(examples, images=images), (96, 144)), before)


def test_crops_of_one_row_are_averaged_and_unlabelled_ones_left_out():
    examples = grade_examples(["a", "a", "b"])
    examples = replace(
        examples, row_id=np.array([["x", ""], ["x", ""], ["y", ""]]), labels=np.array([[1, 0], [1, 0], [-1, 0]])
    )
    rows = rows_of_head(examples, np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), 0)
    assert rows.row_id.tolist() == ["x"]
    assert rows.labels.tolist() == [1]
    assert rows.probabilities[0] == pytest.approx([0.5, 0.5, 0])
