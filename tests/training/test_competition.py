import shutil

import numpy as np
import pandas as pd
import pytest

from evaluation.study_truth import StudyLabels
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.localisation.landmarks import CANAL_BEHIND_MARGIN_MM
from lumbar_kernel.phantom import make_phantom
from lumbar_kernel.runtime.fault_injection import VARIABLE
from lumbar_kernel.schema import ROWS, SEVERITY_NAMES
from lumbar_kernel.views import BASIC_VIEWS
from tests.training.conftest import TRAIN_SEED
from training import competition
from training.examples import GradeExamples, layout, load
from training.studies import kinds


def test_the_competition_layout_gives_the_examples_that_the_truth_gives(train_split, tmp_path):
    assert competition.prepare(train_split, tmp_path, folds={}, workers=1) == 1
    labels = pd.read_csv(train_split / "train.csv").iloc[0]
    for kind, form in kinds(BASIC_VIEWS).items():
        examples = load(tmp_path / f"rsna_{kind}.npz", form)
        if isinstance(examples, GradeExamples):
            for ids, grades in zip(examples.row_id, examples.labels, strict=True):
                for row, grade in zip(ids, grades, strict=True):
                    label = labels[row.partition("_")[2]]
                    assert grade == (SEVERITY_NAMES.index(label) if label in SEVERITY_NAMES else -1)


def test_marked_points_come_back_in_millimetres(train_split):
    files = competition.find_studies(train_split, split="train")[0]
    study = read_study(files)
    marks = pd.read_csv(train_split / "train_label_coordinates.csv", dtype={"study_id": str})
    truth = competition.truth_of(study, StudyLabels(marks, dict.fromkeys(ROWS)))
    # The phantom of the same seed, made in memory, says where the points are.
    seed = np.random.SeedSequence(TRAIN_SEED).spawn(1)[0]
    wanted = make_phantom(seed, study_id=files.study_id, roles=()).truth
    if np.linalg.norm(np.nanmean(truth.canal, axis=0) - wanted.canal.mean(axis=0)) > 30:
        pytest.fail("the phantom on disk is not the one in memory")
    assert np.nanmax(np.abs(truth.canal - wanted.canal)[:, 1:]) < 4
    assert (truth.grades == -1).all()
    gap = np.linalg.norm(truth.canal - truth.disc_margin, axis=1)
    assert np.allclose(gap[~np.isnan(gap)], CANAL_BEHIND_MARGIN_MM)


def test_a_cache_gives_what_is_asked_of_it_now(train_split, tmp_path):
    """Other views, another table of folds, studies of other data: none of them is what the cache held before."""
    study = next((train_split / "train_images").iterdir()).name
    competition.prepare(train_split, tmp_path, folds={study: 1}, workers=1, views=BASIC_VIEWS[:1])
    parts = tmp_path / "rsna" / layout()
    shutil.copytree(parts / study, parts / "other_study")
    fine = f"{BASIC_VIEWS[0]}_fine"
    competition.prepare(train_split, tmp_path, folds={study: 3}, workers=1, views=[BASIC_VIEWS[0], fine])
    for kind, form in kinds([BASIC_VIEWS[0], fine]).items():
        examples = load(tmp_path / f"rsna_{kind}.npz", form)
        assert set(examples.fold) == {3}
        assert set(examples.group) == {study}
        assert len(examples.fold) == len(load(parts / study / f"{kind}.npz", form).fold)


def test_corrected_labels_give_other_examples(train_split, tmp_path):
    data = shutil.copytree(train_split, tmp_path / "data")
    cache, kind = tmp_path / "cache", "foramina"
    competition.prepare(data, cache, folds={}, workers=1, views=BASIC_VIEWS[:1])
    before = load(cache / f"rsna_{kind}.npz", GradeExamples)
    table = pd.read_csv(data / "train.csv", dtype=str)
    row = before.row_id[0, 0].partition("_")[2]
    other = SEVERITY_NAMES[(before.labels[0, 0] + 1) % 3]
    table.assign(**{row: other}).to_csv(data / "train.csv", index=False)
    competition.prepare(data, cache, folds={}, workers=1, views=BASIC_VIEWS[:1])
    after = load(cache / f"rsna_{kind}.npz", GradeExamples)
    assert SEVERITY_NAMES[after.labels[0, 0]] == other
    assert np.array_equal(after.labels[1:], before.labels[1:])

    (data / "train_label_coordinates.csv").write_text(
        "\n".join((data / "train_label_coordinates.csv").read_text().splitlines()[:2]) + "\n"
    )  # too few marks to learn from
    assert competition.prepare(data, cache, folds={}, workers=1, views=BASIC_VIEWS[:1]) == 0
    assert not (cache / f"rsna_{kind}.npz").exists()


def test_folds_that_no_preset_trains_are_refused(tmp_path):
    (tmp_path / "folds.csv").write_text("study_id,fold\n1,0\n2,5\n")
    with pytest.raises(ConfigError, match="folds must be 0 to 4, not 5"):
        competition.read_folds(tmp_path / "folds.csv")


def test_a_study_that_cannot_be_read_costs_its_own_examples_alone(train_split, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "read:nan:*")
    assert competition.prepare(train_split, tmp_path, folds={}, workers=1) == 0
    assert not list(tmp_path.glob("rsna_*.npz"))
