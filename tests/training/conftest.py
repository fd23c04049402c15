"""What the tests of this folder share."""

import numpy as np
import pytest

from lumbar_kernel.phantom import write_dataset
from lumbar_kernel.schema import CANAL, LEVELS
from tests.pack_files import write_packs
from training.evaluation_metrics import (
    GradedRows,
)
from training.examples import GradeExamples
from training.phantoms import FIRST_SEED, phantom_examples

SEEDS = range(40, 44)

LOSS_KEYS = {"loss", "prior", "low", "high", "accuracy", "n", "studies"}


@pytest.fixture(scope="session")
def packs_folder(tmp_path_factory):
    data = tmp_path_factory.mktemp("packs")
    write_packs(data, seeds=SEEDS)
    return data


TRAIN_SEED = 31


@pytest.fixture(scope="session")
def train_split(tmp_path_factory):
    """One labelled study in the competition's layout, to be copied before it is changed."""
    folder = tmp_path_factory.mktemp("train_split")
    write_dataset(folder, studies=1, seed=TRAIN_SEED, split="train")
    return folder


def graded_rows(n=400, *, sharpen=1.0):
    """Rows whose labels are drawn from known probabilities, and those probabilities, sharpened or not."""
    rng = np.random.default_rng(1)
    true = rng.dirichlet((4.0, 1.0, 0.6), n)
    labels = np.array([rng.choice(3, p=row) for row in true])
    predicted = true**sharpen / (true**sharpen).sum(axis=1, keepdims=True)
    study = np.arange(n) // 5
    row_id = np.array([f"{study[k]}_{CANAL}_{LEVELS[k % 5]}" for k in range(n)])
    return GradedRows(row_id, study.astype(str), (study % 4).astype(np.int8), labels.astype(np.int8), predicted)


def grade_examples(groups):
    n = len(groups)
    return GradeExamples(
        images=np.random.default_rng(0).integers(0, 255, (n, 3, 96, 144), dtype=np.uint8),
        shown=np.ones((n, 3), bool),
        labels=np.arange(2 * n).reshape(n, 2) % 3,
        level=np.arange(n) % 5,
        row_id=np.full((n, 2), "1_x"),
        group=np.array(groups),
        fold=(np.arange(n) % 4).astype(np.int8),
        source=np.full(n, "axial_t2_crops"),
    )


@pytest.fixture(scope="session")
def made():
    return phantom_examples(FIRST_SEED - 1)
