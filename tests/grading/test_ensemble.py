from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumbar_kernel.grading.ensemble import blend_with_prior, combine, row_weights, scale_max_severe, weighted_mean
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.schema import CANAL, FORAMINAL, ROWS, group_of, prior, row_index

SEEDS = st.integers(0, 10_000)
CANAL_ROWS = [row_index(CANAL, level) for level in range(5)]


def member(seed, *, silent=()):
    """Random probabilities of one member, NaN on the rows that it cannot grade."""
    grades = np.random.default_rng(seed).dirichlet(np.ones(3), size=25)
    grades[list(silent)] = np.nan
    return grades


def test_without_members_each_row_holds_the_prior():
    mean, graded = weighted_mean([], [])
    np.testing.assert_allclose(mean, prior())
    assert not graded.any()


@given(SEEDS)
def test_rows_sum_to_one_whoever_could_grade_them(seed):
    generator = np.random.default_rng(seed)
    silent = [generator.choice(25, size=8, replace=False) for _ in range(3)]
    own = [member(generator.integers(1 << 30), silent=rows) for rows in silent]
    mean, _ = weighted_mean(own, list(generator.uniform(0, 3, size=(3, 25))))
    np.testing.assert_allclose(mean.sum(axis=1), 1)


def test_one_member_is_its_own_mean_at_any_weight():
    mean, graded = weighted_mean([member(0, silent=[4])], [np.full(25, 0.25)])
    expected = member(0)
    expected[4] = prior()[4]
    np.testing.assert_allclose(mean, expected)
    assert graded.sum() == 24


def test_weights_count_row_by_row_and_order_does_not_matter():
    first, second, weights, ones = member(1), member(2), np.linspace(0, 3, 25), np.ones(25)
    expected = (weights[:, None] * first + second) / (weights[:, None] + 1)
    np.testing.assert_allclose(weighted_mean([first, second], [weights, ones])[0], expected)
    np.testing.assert_allclose(weighted_mean([second, first], [ones, weights])[0], expected)


def test_a_member_of_weight_zero_has_no_influence():
    mean, graded = weighted_mean([member(0)], [np.zeros(25)])
    np.testing.assert_allclose(mean, prior())
    assert not graded.any()


@pytest.mark.parametrize("bad", [np.inf, -0.2, 0.9])
def test_impossible_probabilities_are_refused(bad):
    grades = member(0)
    grades[7, 0] = bad
    with pytest.raises(ValueError, match=ROWS[7]):
        weighted_mean([grades], [np.ones(25)])


@given(SEEDS, st.floats(1.01, 4))
def test_the_study_maximum_rule_raises_one_canal_row_alone(seed, factor):
    before = member(seed)
    after = scale_max_severe(before, factor)
    changed = np.flatnonzero((after != before).any(axis=1))
    assert changed.tolist() == [CANAL_ROWS[np.argmax(before[CANAL_ROWS, 2])]]
    np.testing.assert_allclose(after.sum(axis=1), 1)
    assert after[changed[0], 2] > before[changed[0], 2]
    assert after[changed[0], 0] / after[changed[0], 1] == pytest.approx(before[changed[0], 0] / before[changed[0], 1])


def test_confidence_runs_from_the_prior_to_the_grade():
    confidence = np.linspace(0, 1, 25)
    blended = blend_with_prior(member(5), confidence)
    np.testing.assert_allclose(blended.sum(axis=1), 1)
    np.testing.assert_allclose(blended[0], prior()[0])
    np.testing.assert_allclose(blended[-1], member(5)[-1])
    np.testing.assert_allclose(blended[12], (member(5)[12] + prior()[12]) / 2)


@pytest.mark.parametrize("weight", [-0.1, 1.1, np.nan])
def test_a_weight_outside_zero_to_one_is_refused(weight):
    with pytest.raises(ValueError, match="weights"):
        blend_with_prior(member(0), np.full(25, weight))


def unsure(landmarks, *, level, foramen):
    return Landmarks(**{**landmarks.__dict__, "evidence": level, "foramen_evidence": foramen})


def test_unsure_levels_and_foramina_lower_the_weights_of_their_rows(landmarks):
    level, foramen = np.array([1.0, 1.0, 0.1, 1.0, 1.0]), np.ones((5, 2))
    foramen[4, 1] = 0.0
    weights = dict(zip(ROWS, row_weights(unsure(landmarks, level=level, foramen=foramen)), strict=True))
    for row, value in weights.items():
        if row.endswith("l3_l4"):
            assert value < 0.5
        elif row == "right_neural_foraminal_narrowing_l5_s1":
            assert value == 0.5
        else:
            assert value == 1.0
    assert any(group_of(row) == FORAMINAL for row in weights)


def test_members_are_combined_by_weight_then_calibrated_and_blended_with_the_prior(untrained):
    manifest = read_manifest(untrained)
    axial, sagittal = (
        next(spec for spec in manifest.members if spec.view == view) for view in ("axial_t2", "sagittal_t2")
    )
    predictions = {sagittal.name: member(1), axial.name: member(2)}
    combined = combine(predictions, manifest, np.ones(25))
    assert combined.members == tuple(spec.name for spec in manifest.members if spec.name in predictions)
    canal = np.array([group_of(row) == CANAL for row in ROWS])
    foraminal = np.array([group_of(row) == FORAMINAL for row in ROWS])
    expected = (axial.weight(CANAL) * member(2) + sagittal.weight(CANAL) * member(1))[canal]
    np.testing.assert_allclose(combined.grades[canal], expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)
    # neither view shows the foramina
    assert not combined.graded[foraminal].any()
    np.testing.assert_allclose(combined.grades[foraminal], prior()[foraminal])
    unsure_combined = combine(predictions, manifest, np.zeros(25))
    np.testing.assert_allclose(unsure_combined.grades, prior())
    assert not unsure_combined.graded.any()
    assert not any(unsure_combined.row_members)


def test_without_members_the_prior_remains(untrained):
    combined = combine({}, read_manifest(untrained), np.ones(25))
    np.testing.assert_allclose(combined.grades, prior())
    assert (combined.members, combined.graded.any()) == ((), False)


def calibrated(folder, **entries):
    """The manifest of a folder with a calibration."""
    return replace(read_manifest(folder), calibration=Calibration.from_dict(entries))


def test_what_no_member_graded_is_the_prior_whatever_the_calibration(untrained):
    manifest = calibrated(untrained, max_severe_factor=3.0, **{CANAL: {"temperature": 2.0, "bias": [0, 1.0, 2.0]}})
    np.testing.assert_allclose(combine({}, manifest, np.ones(25)).grades, prior())
    some = combine({"tiny_sagittal_t2": member(1, silent=[CANAL_ROWS[0]])}, manifest, np.ones(25))
    np.testing.assert_allclose(some.grades[~some.graded], prior()[~some.graded])
    assert some.graded.sum() == 4


def test_grades_are_calibrated_then_raised_then_blended_with_the_prior(untrained):
    manifest = calibrated(untrained, max_severe_factor=2.0, **{CANAL: {"temperature": 2.0}})
    own, weights = member(1), np.full(25, 0.6)
    grades = scale_max_severe(manifest.calibration.apply(own), 2.0)
    found = combine({"tiny_sagittal_t2": own}, manifest, weights).grades
    np.testing.assert_allclose(found[CANAL_ROWS], (0.6 * grades + 0.4 * prior())[CANAL_ROWS])


def test_only_those_are_named_whose_grades_count_in_a_row(untrained):
    manifest = read_manifest(untrained)
    canal = next(spec for spec in manifest.members if spec.view == "sagittal_t2")
    silent = replace(canal, name="silent", ensemble_weight=(0.0,))
    manifest = replace(manifest, members=(canal, silent))
    combined = combine({canal.name: member(1, silent=CANAL_ROWS[:1]), "silent": member(2)}, manifest, np.ones(25))
    assert combined.members == (canal.name, "silent")
    assert [combined.row_members[row] for row in CANAL_ROWS] == [(), *[(canal.name,)] * 4]
    both = combine(
        {canal.name: member(1, silent=CANAL_ROWS[:1]), "tiny_axial_t2": member(2)},
        read_manifest(untrained),
        np.ones(25),
    )
    assert [both.row_members[row] for row in CANAL_ROWS[:2]] == [("tiny_axial_t2",), ("tiny_axial_t2", canal.name)]


def test_evidence_counts_in_full_from_three_tenths(landmarks):
    level = np.array([0.0, 0.15, 0.3, 0.6, 1.0])
    weights = row_weights(unsure(landmarks, level=level, foramen=np.ones((5, 2))))
    np.testing.assert_allclose(weights[CANAL_ROWS], [0, 0.5, 1, 1, 1])
    sides = row_weights(unsure(landmarks, level=np.ones(5), foramen=np.stack([level, np.ones(5)], axis=1)))
    for side, expected in ((0, [0.5, 0.75, 1, 1, 1]), (1, np.ones(5))):
        rows = [row_index(FORAMINAL, k, side) for k in range(5)]
        np.testing.assert_allclose(sides[rows], expected)


def test_probabilities_that_miss_one_by_a_hundredth_are_refused():
    grades = member(0)
    grades[7] *= 1.01
    with pytest.raises(ValueError, match=ROWS[7]):
        weighted_mean([grades], [np.ones(25)])
