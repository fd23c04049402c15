import pytest

from evaluation.held_out_studies import HELD_OUT_STUDIES
from training.competition import fold_of
from training.shared_folds import disagreement, table_of_packs


@pytest.fixture
def packs(tmp_path):
    """Two packs, whose tables hold three studies with folds."""
    for name, rows in (("sagittal_t1/points.csv", "1,2\n1,2\n7,0\n"), ("axial_t2_crops/labels.csv", "8,1\n7,0\n")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"study_id,fold\n{rows}")
    return tmp_path


def folds(packs, rows):
    table = packs / "folds.csv"
    table.write_text(f"study_id,fold\n{rows}")
    return table


def test_a_table_with_the_folds_of_the_packs_agrees(packs):
    assert not disagreement(packs, folds(packs, "1,2\n7,0\n8,1\n9,4\n"))


def test_the_first_study_with_another_fold_is_named(packs):
    assert "1 studies have other folds" in disagreement(packs, folds(packs, "1,2\n7,0\n8,3\n"))
    assert "8 has 1 and 3" in disagreement(packs, folds(packs, "1,2\n7,0\n8,3\n"))


def test_a_study_that_the_table_does_not_list_is_in_the_fold_of_its_hash(packs):
    assert fold_of("8", {}) != 1
    assert "8 has 1 and none" in disagreement(packs, folds(packs, "1,2\n7,0\n"))


def test_folds_that_no_preset_trains_are_named(packs):
    assert "folds must be 0 to 4" in disagreement(packs, folds(packs, "1,5\n"))


def test_without_a_table_packs_with_studies_do_not_agree(packs, tmp_path):
    assert "3 of the competition's studies" in disagreement(packs, None)
    assert not disagreement(tmp_path / "nothing", None)


def test_studies_that_no_training_sees_may_be_anywhere(packs):
    (packs / "axial_t2_crops" / "labels.csv").write_text(f"study_id,fold\n{min(HELD_OUT_STUDIES)},9\n")
    assert not disagreement(packs, folds(packs, "1,2\n7,0\n"))


def test_a_table_beside_the_packs_is_found(packs):
    assert table_of_packs(packs) is None
    (packs / "rsna_tables").mkdir()
    (packs / "rsna_tables" / "folds.csv").touch()
    assert table_of_packs(packs) == packs / "rsna_tables" / "folds.csv"
