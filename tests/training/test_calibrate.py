from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.schema import CANAL, FORAMINAL, GROUPS
from tests.training.conftest import graded_rows
from training import calibrate
from training.examples import GradeExamples
from training.member_predictions import MemberPredictions


def test_calibration_takes_back_what_a_member_overstates():
    sharp, honest = graded_rows(4000, sharpen=2.0), graded_rows(4000)
    foraminal = replace(honest, row_id=np.char.replace(honest.row_id, CANAL, f"left_{FORAMINAL}"))
    chosen = calibrate.calibrated({"canal": sharp, "foraminal": foraminal})
    assert chosen.temperature[GROUPS.index(CANAL)] != 1.0


def test_a_step_that_does_not_hold_is_dropped():
    ideal = graded_rows(400)
    weighted = ideal.probabilities * (1, 2, 4)
    rows = replace(ideal, probabilities=weighted / weighted.sum(axis=1, keepdims=True))
    assert calibrate.calibrated({"canal": rows}) == Calibration()


def test_the_member_that_knows_gains_more_than_the_one_that_guesses():
    labels = np.array([0, 0, 0, 1, 2] * 20, np.int8)
    count = len(labels)
    examples = GradeExamples(
        images=np.zeros((count, 1, 2, 2), np.uint8),
        shown=np.ones((count, 1), bool),
        labels=labels[:, None],
        level=np.zeros(count, np.int8),
        row_id=np.array([[f"{k}_row"] for k in range(count)]),
        group=np.array([str(k) for k in range(count)]),
        fold=np.zeros(count, np.int8),
        source=np.full(count, "axial_t2_crops"),
    )
    knows = np.where(np.arange(3) == labels[:, None], 0.8, 0.1)[:, None]
    guesses = np.full((count, 1, 3), 1 / 3)
    members = MemberPredictions("sagittal_t1", FORAMINAL, examples, {"knows": knows, "guesses": guesses})
    rises = calibrate.losses_without(members)
    assert rises["knows"] > 0.1 > 0 > rises["guesses"]


@pytest.mark.parametrize("members", [2, 3, 4])
def test_the_first_of_the_weights_that_are_tried_are_equal_ones(members):
    splits = calibrate._splits(members)
    assert splits[0] == (1 / members,) * members
    assert len(set(splits)) == len(splits)
    assert all(sum(split) == pytest.approx(1) for split in splits)
