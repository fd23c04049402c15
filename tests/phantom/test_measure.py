"""Grades follow the geometry: each mechanism narrows what it should, and the same seed means the same truth."""

from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel import schema
from lumbar_kernel.phantom import draw_patient, make_phantom, make_truth
from lumbar_kernel.phantom.grade_thresholds import THRESHOLDS
from lumbar_kernel.phantom.measure import grade

SEED, LEVEL = 9, 3


@pytest.fixture(scope="module")
def healthy():
    """A patient whose L4/L5 is as open as it gets."""
    anatomy = draw_patient(SEED)
    changes = {
        name: np.array(getattr(anatomy, name))
        for name in ("bulge", "side_bulge", "herniation", "flavum", "facet", "cyst")
    }
    for name, value in (("bulge", 0.3), ("side_bulge", 0.3), ("flavum", 2.6), ("facet", 0.0), ("cyst", 0.0)):
        changes[name][LEVEL] = value
    changes["herniation"][LEVEL, 0] = 0.0
    return replace(anatomy, slip=np.zeros(10), laminectomy=np.zeros(11, bool), **changes)


def changed(anatomy, **values):
    """The anatomy with other numbers at the level."""
    new = {}
    for name, value in values.items():
        new[name] = np.array(getattr(anatomy, name))
        new[name][LEVEL] = value
    return replace(anatomy, **new)


def score(anatomy, group, side=None):
    return make_truth(SEED, anatomy=anatomy).scores[schema.row_index(group, LEVEL, side)]


def test_truth_without_images_is_that_of_the_images():
    phantom, truth = make_phantom(3, study_id="3", roles=(schema.SAGITTAL_T1,)), make_truth(3)
    assert np.array_equal(phantom.truth.grades, truth.grades)
    assert np.allclose(phantom.truth.scores, truth.scores, atol=0.02)
    assert np.allclose(phantom.truth.recesses, truth.recesses, atol=0.1)


@pytest.mark.parametrize(
    "worse",
    [
        {"bulge": 6.0, "side_bulge": 6.0},
        {"herniation": (7.0, 0.0, 5.0, 0.0, 5.0)},
        {"flavum": 7.0},
        {"sac_depth": 8.0},
        {"facet": 6.0, "flavum": 4.5},
    ],
    ids=lambda worse: next(iter(worse)),
)
def test_every_mechanism_narrows_the_canal(healthy, worse):
    assert score(changed(healthy, **worse), schema.CANAL) > score(healthy, schema.CANAL) + 0.3


def test_a_slip_narrows_the_canal(healthy):
    slip = np.zeros(10)
    slip[3 + LEVEL] = 7.0
    assert score(replace(healthy, slip=slip), schema.CANAL) > score(healthy, schema.CANAL)


def test_a_left_herniation_narrows_the_left_recess(healthy):
    torn = changed(healthy, herniation=(6.0, 8.0, 4.0, 0.0, 5.0))
    left, right = (score(torn, schema.SUBARTICULAR, s) - score(healthy, schema.SUBARTICULAR, s) for s in range(2))
    assert left > 0.5
    assert left > right + 0.3


def test_a_herniation_far_out_narrows_the_foramen_and_not_the_canal(healthy):
    torn = changed(healthy, herniation=(8.0, -17.0, 4.0, 4.0, 8.0))
    assert score(torn, schema.FORAMINAL, 1) > score(healthy, schema.FORAMINAL, 1) + 0.3
    assert score(torn, schema.FORAMINAL, 0) == pytest.approx(score(healthy, schema.FORAMINAL, 0), abs=0.05)
    assert score(torn, schema.CANAL) == pytest.approx(score(healthy, schema.CANAL), abs=0.2)


def test_a_lost_disc_lowers_the_foramen(healthy):
    height = healthy.disc_height.copy()
    height[3 + LEVEL] *= 0.35
    lost = replace(changed(healthy, height_loss=6.0), disc_height=height)
    area = [make_truth(SEED, anatomy=a).measures["foramen_area_left"][LEVEL] for a in (healthy, lost)]
    assert area[1] < 0.85 * area[0]


def test_a_transitional_patient_is_numbered_by_construction():
    anatomies = [draw_patient(seed) for seed in range(150)]
    share = np.mean([bool(a.transitional) for a in anatomies])
    assert 0.04 < share < 0.20
    flat = next(s for s, a in enumerate(anatomies) if a.transitional == "sacralised")
    truth = make_truth(flat)
    assert anatomies[flat].disc_height[7] < 0.8 * anatomies[flat].disc_height[6]
    assert np.all(np.diff(truth.disc_margin[:, 2]) < 0)


def test_a_grade_counts_the_thresholds_passed():
    assert np.array_equal(grade(THRESHOLDS[:, 0]), np.ones(25))
    assert np.array_equal(grade(THRESHOLDS[:, 1] + 0.01), np.full(25, 2))
    assert np.array_equal(grade(THRESHOLDS[:, 0] - 0.01), np.zeros(25))
    assert np.all(THRESHOLDS[:, 1] > THRESHOLDS[:, 0])
