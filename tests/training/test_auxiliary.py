from dataclasses import replace

import numpy as np
import pytest
import torch

from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.schema import ROWS
from tests.conftest import BACKBONE
from tests.training.conftest import grade_examples
from training.auxiliary import AuxiliaryGradeNet, read_grades, related, with_auxiliary, without_auxiliary
from training.examples import save


def test_an_axial_crop_is_related_to_its_foramen_and_to_the_levels_beside_it():
    assert related(["7_spinal_canal_stenosis_l2_l3", "7_right_subarticular_stenosis_l2_l3"]) == [
        "7_right_neural_foraminal_narrowing_l2_l3",
        "7_spinal_canal_stenosis_l1_l2",
        "7_spinal_canal_stenosis_l3_l4",
        "7_right_subarticular_stenosis_l1_l2",
        "7_right_subarticular_stenosis_l3_l4",
    ]


def test_a_crop_without_a_side_is_related_to_both_sides():
    assert related(["7_spinal_canal_stenosis_l1_l2"]) == [
        "7_left_neural_foraminal_narrowing_l1_l2",
        "7_right_neural_foraminal_narrowing_l1_l2",
        "7_left_subarticular_stenosis_l1_l2",
        "7_right_subarticular_stenosis_l1_l2",
        "",
        "7_spinal_canal_stenosis_l2_l3",
    ]


@pytest.mark.parametrize("row", ROWS)
def test_nothing_is_related_to_itself_or_to_the_other_side(row):
    found = [name for name in related([f"7_{row}"]) if name]
    assert f"7_{row}" not in found
    assert len(found) == len(set(found))
    if row.startswith("left"):
        assert not any("right" in name for name in found)


def test_a_crop_without_rows_has_no_relations():
    assert related(["", ""]) == []


@pytest.fixture
def axial_examples():
    """Two crops of study 7 at L1/L2, left and right, and one that no reader's row belongs to."""
    examples = grade_examples(["7", "7", "s"])
    examples.row_id[:] = ""
    rows = [["7_spinal_canal_stenosis_l1_l2", f"7_{side}_subarticular_stenosis_l1_l2"] for side in ("left", "right")]
    return replace(examples, row_id=np.array([*rows, ["", ""]]))


def test_auxiliary_labels_come_behind_the_own_ones(axial_examples):
    grades = {"7_left_neural_foraminal_narrowing_l1_l2": 2, "7_spinal_canal_stenosis_l2_l3": 1}
    extended = with_auxiliary(axial_examples, grades)
    assert np.array_equal(extended.labels[:, :2], axial_examples.labels)
    assert np.array_equal(extended.row_id[:, :2], axial_examples.row_id)
    foramen, above, canal, *_ = extended.labels[:, 2:].T.tolist()
    assert foramen == [2, -1, -1]  # the right one has no grade
    assert above == [-1, -1, -1]  # nothing is above L1/L2
    assert canal == [1, 1, -1]


def test_the_grades_of_all_files_are_known(axial_examples, tmp_path):
    axial_examples.labels[1, 1] = -1
    save(axial_examples, tmp_path / "axial.npz")
    assert read_grades([tmp_path / "axial.npz"]) == {
        "7_spinal_canal_stenosis_l1_l2": int(axial_examples.labels[1, 0]),
        "7_left_subarticular_stenosis_l1_l2": int(axial_examples.labels[0, 1]),
    }


def test_a_grader_without_its_auxiliary_heads_predicts_the_same():
    torch.manual_seed(0)
    taught = AuxiliaryGradeNet(BACKBONE, in_chans=1, heads=2, auxiliary=3).eval()
    plain = GradeNet(BACKBONE, in_chans=1, heads=2).eval()
    plain.load_state_dict(without_auxiliary(taught.state_dict()))
    inputs = torch.rand(2, 3, 64, 64), torch.tensor([0, 4]), torch.tensor([[True] * 3, [False, True, True]])
    with torch.no_grad():
        assert torch.equal(taught(*inputs), plain(*inputs))
        every = taught.every_head(*inputs)
        assert every.shape == (2, 5, 3)
        assert torch.equal(every[:, :2], plain(*inputs))
