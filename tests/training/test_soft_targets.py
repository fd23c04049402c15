import numpy as np
import pandas as pd
import pytest

from evaluation.array_rows import select
from lumbar_kernel.schema import SEVERITY_WEIGHTS, SUBMISSION_COLUMNS
from tests.training.conftest import grade_examples
from training.examples import GradeExamples
from training.soft_targets import read_predictions, targets_of


@pytest.fixture
def examples() -> GradeExamples:
    return select(grade_examples(["7", "8"]), np.array([0, 1]))


def test_without_other_models_the_target_is_the_readers_grade(examples):
    examples.labels[1, 0] = -1
    targets = targets_of(examples, {}, share=0.5)
    assert np.array_equal(targets.argmax(axis=2)[0], examples.labels[0])
    assert targets[1, 0].tolist() == [0, 0, 0]


def test_predictions_share_the_target_once_the_metrics_weights_are_taken_out(examples):
    likely = np.array([0.5, 0.3, 0.2])
    made_for_the_metric = likely * SEVERITY_WEIGHTS / (likely @ SEVERITY_WEIGHTS)
    row = str(examples.row_id[0, 0])
    examples.labels[0, 0] = 2
    targets = targets_of(examples, {row: made_for_the_metric}, share=0.25)
    assert np.allclose(targets[0, 0], 0.75 * np.array([0, 0, 1]) + 0.25 * likely, atol=1e-5)
    assert np.allclose(targets.sum(axis=2), 1)


def test_a_row_without_a_grade_has_the_predictions_alone(examples):
    examples.labels[0, 0] = -1
    made_for_the_metric = np.array([1, 2, 4]) / 7
    targets = targets_of(examples, {str(examples.row_id[0, 0]): made_for_the_metric}, share=0.25)
    assert np.allclose(targets[0, 0], 1 / 3, atol=1e-5)


def test_the_predictions_of_several_files_are_averaged_row_by_row(tmp_path):
    files = []
    for number, rows in enumerate(({"a": [1, 0, 0], "b": [0, 1, 0]}, {"a": [0, 0, 1]})):
        files.append(tmp_path / f"{number}.csv")
        table = [[row, *grades] for row, grades in rows.items()]
        pd.DataFrame(table, columns=SUBMISSION_COLUMNS).to_csv(files[-1], index=False)
    found = {row: grades.tolist() for row, grades in read_predictions(files).items()}
    assert found == {"a": [0.5, 0, 0.5], "b": [0, 1, 0]}
    assert read_predictions([]) == {}
