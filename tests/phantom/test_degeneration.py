"""Degeneration grows with age, runs along the spine, and causes findings where literature finds them."""

import numpy as np
import pytest

from lumbar_kernel.phantom.degeneration import (
    SITES,
    Degeneration,
    Patient,
    along_sides,
    draw_herniations,
    draw_modic,
    draw_schmorl,
    draw_slips,
)

COUNT = 2000


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def population(rng, *, age=55.0, balanced=False, female=False):
    patient = Patient(female, age, 27.0, 1.0)
    return patient, [Degeneration.draw(rng, patient, balanced=balanced) for _ in range(COUNT)]


def discs(drawn):
    return np.stack([one.disc for one in drawn])


def test_patients_are_plausible(rng):
    patients = [Patient.draw(rng) for _ in range(COUNT)]
    assert {patient.female for patient in patients} == {True, False}
    assert all(20 <= patient.age <= 88 and 0.84 <= patient.size <= 1.2 for patient in patients)
    assert all(12 < patient.body_mass_index < 60 for patient in patients)


def test_degeneration_grows_with_age_and_downwards(rng):
    young, old = (discs(population(rng, age=age)[1]) for age in (30.0, 70.0))
    assert np.all(old.mean(axis=0) - young.mean(axis=0) == pytest.approx(1.6, abs=0.15))
    assert young[:, 0].mean() < young[:, 2].mean() < young[:, 3].mean()


def test_neighbouring_discs_are_more_alike_than_distant_ones(rng):
    correlation = np.corrcoef(discs(population(rng)[1]).T)
    assert correlation[2, 3] > correlation[0, 4] > 0.3


def test_balanced_patients_are_worse(rng):
    usual, balanced = (population(rng, balanced=choice)[1] for choice in (False, True))
    assert discs(balanced).mean() > discs(usual).mean() + 0.3
    assert np.mean([one.facet for one in balanced]) > np.mean([one.facet for one in usual])


def test_values_along_a_side_have_unit_variance_and_share_what_is_asked(rng):
    values = np.stack([along_sides(rng, shared=0.8) for _ in range(COUNT)])
    assert values.std(axis=0) == pytest.approx(1, abs=0.08)
    assert np.corrcoef(values[:, 1, 0], values[:, 2, 0])[0, 1] == pytest.approx(0.8 * 0.5, abs=0.08)
    assert abs(np.corrcoef(values[:, 1, 0], values[:, 1, 1])[0, 1]) < 0.1


def test_herniations_are_most_common_at_the_lower_levels_and_left_as_often_as_right(rng):
    drawn = np.stack([draw_herniations(rng, one, balanced=False) for one in population(rng)[1]])
    common = (drawn[..., 0] > 0).mean(axis=0)
    assert common[3] > 2 * common[0]
    assert common[4] > 2 * common[0]
    assert (drawn[..., 1] > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert np.abs(drawn[..., 1]).max() < max(SITES) + 6


def test_slips_of_l4_are_most_common_and_grow_with_age(rng):
    rates = {}
    for age in (35.0, 75.0):
        patient, drawn = population(rng, age=age)
        slips = np.stack([draw_slips(rng, patient, one)[0] for one in drawn])
        rates[age] = (slips > 0).mean(axis=0)
        assert slips.max() <= 9
    assert np.argmax(rates[75.0][:4]) == 3
    assert rates[75.0][3] > 2 * rates[35.0][3]


def test_an_isthmic_slip_moves_l5_forwards(rng):
    patient, drawn = population(rng)
    isthmic = [slip for slip, kind in (draw_slips(rng, patient, one) for one in drawn) if kind]
    assert 0.02 < len(isthmic) / COUNT < 0.06
    assert all(slip[4] >= 2 for slip in isthmic)


def test_modic_changes_follow_the_disc_and_have_a_depth_only_where_present(rng):
    worn, fresh = (Degeneration(np.full(5, value), np.zeros((5, 2))) for value in (2.0, -2.0))
    many, few = (np.stack([draw_modic(rng, kind) for _ in range(COUNT)]) for kind in (worn, fresh))
    assert (many[..., 0] > 0).mean() > 5 * (few[..., 0] > 0).mean()
    assert set(np.unique(many[..., 0])) == {0.0, 1.0, 2.0, 3.0}
    assert not many[many[..., 0] == 0][:, 1:].any()


def test_schmorl_nodes_are_rare_and_go_both_ways(rng):
    depth = np.stack([draw_schmorl(rng)[:, 0] for _ in range(COUNT)])
    assert 0.03 < (depth != 0).mean() < 0.12
    assert (depth[depth != 0] > 0).mean() == pytest.approx(0.5, abs=0.1)
