from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.grids import upright_grid
from lumbar_kernel.localisation.axial import WINDOW_SHAPE, WINDOW_SPACING_MM
from lumbar_kernel.localisation.reformat import SLICES, STEP_MM, with_reformatted_axials
from lumbar_kernel.phantom import make_phantom
from lumbar_kernel.resampling import sample
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T2
from lumbar_kernel.slice_choice import axial_showing
from lumbar_kernel.study import Series, Slice, Study
from lumbar_kernel.views import DISCS, VIEWS
from tests.conftest import SAGITTAL, make_slice

SEED = 11
"""That of the shared phantom, so that its landmarks are true here too."""


@pytest.fixture(scope="module")
def scanned():
    """The shared patient with sagittal T2 as a volume, and the axial slices of the same body."""
    return make_phantom(SEED, study_id=str(SEED), volume=True, roles=(SAGITTAL_T2, AXIAL_T2)).study


def alone(study):
    """The study as it is read without an axial series."""
    (sagittal,) = (series for series in study.series if series.role == SAGITTAL_T2)
    volume = Series("7 reformatted", AXIAL_T2, sagittal.slices)
    return replace(study, series=(sagittal,), volume=volume)


def ramp_volume(*, order=1):
    """A sagittal volume about the origin whose signal is linear in the patient: 200 + x + 2 y + 3 z."""
    slices = []
    for x in np.arange(-45.0, 46.0)[::order]:
        item = make_slice(SAGITTAL, origin=(x, -80, 100), shape=(200, 160))
        points = item.plane.pixel_centres
        slices.append(replace(item, pixels=(800 + points @ [1.0, 2.0, 3.0]).astype(np.float32)))
    return Study("1", (), volume=Series("7 reformatted", AXIAL_T2, tuple(slices)))


@pytest.mark.parametrize("order", [1, -1])
def test_a_linear_signal_is_resampled_exactly_and_nothing_is_made_up_outside(landmarks, order):
    middle = landmarks.canal[2]
    here = replace(landmarks, canal=landmarks.canal - middle, disc_margin=landmarks.disc_margin - middle)
    study = with_reformatted_axials(ramp_volume(order=order), here)
    for item in study.slices(AXIAL_T2)[SLICES : 4 * SLICES]:
        points = item.plane.pixel_centres
        within = np.all(np.abs(points) < [43, 75, 90], axis=-1)
        beyond = np.abs(points[..., 0]) > 47
        assert within.any()
        assert np.allclose(item.pixels[within], (800 + points @ [1.0, 2.0, 3.0])[within], atol=0.01)
        assert not item.pixels[beyond].any()


def test_every_disc_gets_a_block_along_it_that_axial_views_choose(scanned, landmarks):
    study = with_reformatted_axials(alone(scanned), landmarks)
    slices = study.slices(AXIAL_T2)
    assert len(slices) == 5 * SLICES
    heights = [item.plane.centre[2] for item in slices[SLICES // 2 :: SLICES]]
    assert heights == sorted(heights)
    for level in range(5):
        normal, canal = landmarks.disc_normal[level], landmarks.canal[level]
        item = axial_showing(slices, canal, normal=normal)
        assert abs(float(item.plane.distance(canal))) < 1e-6
        assert float(np.abs(item.plane.normal @ normal)) > 1 - 1e-9
        assert np.allclose(item.plane.centre, canal)
        beside = [abs(float(item.plane.distance(other.plane.centre))) for other in slices if other is not item]
        assert sorted(beside)[0] == pytest.approx(STEP_MM)


def test_reformatted_slices_look_like_axial_ones_of_the_same_body(scanned, landmarks):
    study = with_reformatted_axials(alone(scanned), landmarks)
    true, made = scanned.slices(AXIAL_T2), study.slices(AXIAL_T2)
    alike = []
    for canal, normal in zip(landmarks.canal, landmarks.disc_normal, strict=True):
        item = axial_showing(true, canal, normal=normal)
        if item is None or abs(float(item.plane.distance(canal))) > 2 or abs(item.plane.normal @ normal) < 0.99:
            continue
        other = axial_showing(made, canal, normal=normal)
        grid = upright_grid(other.plane, canal, sagittal=False, spacing=0.8, shape=(60, 80))
        alike.append(np.corrcoef(sample(item, grid).ravel(), sample(other, grid).ravel())[0, 1])
    assert alike
    assert min(alike) > 0.6


def test_what_is_done_is_said_and_an_axial_series_is_never_replaced(scanned, landmarks):
    study = with_reformatted_axials(alone(scanned), landmarks)
    assert study.problems == ("no axial series: axial slices are reformatted from sagittal series 7",)
    assert study.series[-1].series_id == "7 reformatted"
    assert study.volume is None
    assert all(isinstance(item, Slice) and item.instance_number is None for item in study.series[-1].slices)
    both = replace(scanned, volume=alone(scanned).volume)
    assert with_reformatted_axials(both, landmarks) is both
    assert with_reformatted_axials(scanned, landmarks) is scanned


def test_a_slice_is_the_mean_over_its_thickness(landmarks):
    here = replace(landmarks, canal=landmarks.canal - landmarks.canal[2])
    study, rng = ramp_volume(), np.random.default_rng(0)
    noisy = tuple(
        replace(item, pixels=rng.normal(100, 10, item.pixels.shape).astype(np.float32)) for item in study.volume.slices
    )
    seen = with_reformatted_axials(replace(study, volume=replace(study.volume, slices=noisy)), here)
    item = seen.slices(AXIAL_T2)[2 * SLICES + 1]
    within = np.all(np.abs(item.plane.pixel_centres) < 40, axis=-1)
    assert item.pixels[within].mean() == pytest.approx(100, abs=1)
    assert 2 < item.pixels[within].std() < 4.5  # 10 / sqrt(3), and less between voxels; 6.5 of a single plane


def test_reformatted_slices_hold_the_windows_of_recesses_and_crops(scanned, landmarks):
    item = with_reformatted_axials(alone(scanned), landmarks).slices(AXIAL_T2)[1]
    sizes = [
        np.array(view.geometry.shape) * view.geometry.spacing for view in VIEWS.values() if view.centred_on == DISCS
    ]
    sizes.append(np.array(WINDOW_SHAPE) * WINDOW_SPACING_MM)
    assert min(item.plane.extent_mm) > 1.33 * np.max(sizes)


def test_reformatting_is_one_problem_more(scanned, landmarks):
    study = with_reformatted_axials(replace(alone(scanned), problems=("1.dcm: truncated",)), landmarks)
    assert study.problems[0] == "1.dcm: truncated"
    assert len(study.problems) == 2
