import csv
from pathlib import Path

import numpy as np
import pytest

from lumbar_kernel import schema

TABLES = Path(__file__).parents[2] / "shared" / "data" / "rsna_tables"


def test_a_study_has_25_different_rows():
    assert len(set(schema.ROWS)) == len(schema.ROWS) == 25


def test_level_names_are_those_of_the_coordinates_table():
    assert schema.LEVEL_NAMES == ("L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S1")


@pytest.mark.parametrize("group", schema.GROUPS)
def test_row_index_finds_every_row_of_a_group_once(group):
    sides = (None,) if group == schema.CANAL else (0, 1)
    rows = [schema.ROWS[schema.row_index(group, level, side)] for side in sides for level in range(5)]
    assert rows == sorted(row for row in schema.ROWS if schema.group_of(row) == group)


def test_each_target_has_its_parts_and_their_names():
    for target, row in zip(schema.TARGETS, schema.ROWS, strict=True):
        assert target.group == schema.group_of(row)
        assert row.endswith(f"_{target.level}")
        assert target.side == next((side for side in schema.SIDES if row.startswith(side)), "")
        assert target.condition in schema.CONDITION_NAMES
    assert schema.TARGETS[-1] == schema.Target(schema.CANAL, "", "l5_s1")


def test_row_index_names_the_side_and_level():
    assert schema.ROWS[schema.row_index(schema.SUBARTICULAR, 4, 1)] == "right_subarticular_stenosis_l5_s1"


def test_a_condition_without_sides_has_one_row_whatever_the_side():
    assert {schema.CANAL} == set(schema.GROUPS) - schema.SIDED
    assert schema.row_index(schema.CANAL, 4, 1) == schema.row_index(schema.CANAL, 4)


def test_constants_of_other_levels_are_refused():
    assert schema.per_level(*range(5)) == tuple(range(5))
    with pytest.raises(ValueError, match="6 values for 5 levels"):
        schema.per_level(*range(6))


def test_what_is_known_of_a_condition_is_known_of_all():
    for table in (schema.PLACES, schema.MARKED_ON, schema.LABEL_COUNTS):
        assert tuple(table) == schema.GROUPS
    assert set(schema.MARKED_ON.values()) <= set(schema.SERIES_DESCRIPTIONS)


def test_group_of_refuses_a_row_without_a_condition():
    with pytest.raises(ValueError, match="'kyphosis_l1_l2'"):
        schema.group_of("kyphosis_l1_l2")


def test_prior_rows_are_probabilities_and_severity_rises_down_to_l4_l5():
    prior = schema.prior()
    assert prior.shape == (25, 3)
    assert prior.min() > 0
    np.testing.assert_allclose(prior.sum(axis=1), 1)
    canal = prior[[schema.row_index(schema.CANAL, level) for level in range(5)], 2]
    assert (np.diff(canal[:4]) > 0).all()


def test_prior_is_the_same_for_both_sides():
    prior = schema.prior()
    for group in (schema.FORAMINAL, schema.SUBARTICULAR):
        for level in range(5):
            left, right = (prior[schema.row_index(group, level, side)] for side in (0, 1))
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("grade", [0, 1, 2])
def test_no_constant_near_the_prior_has_a_lower_weighted_loss(grade, direction):
    counts = np.array([schema.LABEL_COUNTS[item.group][schema.LEVELS.index(item.level)] for item in schema.TARGETS])
    weights = counts * np.array(schema.SEVERITY_WEIGHTS)
    moved = schema.prior() * np.where(np.arange(3) == grade, 1 + 0.05 * direction, 1)
    moved /= moved.sum(axis=1, keepdims=True)
    assert ((weights * np.log(moved)).sum(axis=1) < (weights * np.log(schema.prior())).sum(axis=1)).all()


@pytest.mark.real
def test_rows_are_those_of_the_sample_submission():
    path = TABLES / "sample_submission.csv"
    if not path.exists():
        pytest.skip("needs ../shared/data/rsna_tables/sample_submission.csv")
    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == schema.SUBMISSION_COLUMNS
    assert [line[0] for line in lines] == list(schema.row_ids("44036939"))


@pytest.mark.parametrize("study", ["7", "a_b", "left"])
def test_a_row_id_is_split_where_its_study_ends(study):
    assert [schema.split_row_id(row_id) for row_id in schema.row_ids(study)] == [(study, row) for row in schema.ROWS]
    with pytest.raises(ValueError, match="does not end in one of the 25 targets"):
        schema.split_row_id(f"{study}{schema.ROWS[-1]}")


def test_the_prior_expects_each_grade_as_often_as_it_was_counted():
    counts = np.array([schema.LABEL_COUNTS[item.group][schema.LEVELS.index(item.level)] for item in schema.TARGETS])
    np.testing.assert_allclose(schema.frequencies(schema.prior()), counts / counts.sum(axis=1, keepdims=True))
