import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lumbar_kernel.localisation import axial
from lumbar_kernel.localisation.axial import WINDOW_SHAPE, AxialLevel, axial_levels, recesses_on, window_of
from lumbar_kernel.models.checkpoints import load_localiser
from lumbar_kernel.models.heatmap_net import STRIDE
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.slice_choice import AXIAL_CAP_MM, axial_showing
from lumbar_kernel.study import Series, Study
from tests.conftest import AXIAL, make_slice

TILTED = (np.array([1.0, 0, 0]), np.array([0.0, np.cos(0.5), np.sin(0.5)]))


SAGITTAL = (SAGITTAL_T1, SAGITTAL_T2)


class Says(nn.Module):
    """A net that always points at the same two places of its window, or at none."""

    def __init__(self, places):
        super().__init__()
        self.places, self.unused = places, nn.Parameter(torch.zeros(1))

    def forward(self, pictures):
        columns = WINDOW_SHAPE[1] // STRIDE
        predicted = torch.full((len(pictures), 2, columns * WINDOW_SHAPE[0] // STRIDE + 1), 1e-9)
        predicted[:, :, -1] = 1.0
        for side, (row, column) in enumerate(self.places):
            predicted[:, side, row * columns + column] = 1.0
            predicted[:, side, -1] = 1e-9
        return predicted.log()


def test_the_window_is_upright_centred_and_as_wide_as_in_training():
    item = make_slice(TILTED, origin=(-50, -50, 0), shape=(100, 100))
    grid = window_of(item, np.array([3.0, 4, 5]))
    middle = grid.to_mm((np.array(WINDOW_SHAPE) - 1) / 2)
    assert abs(float(item.plane.distance(middle))) < 1e-6
    assert grid.row_direction[0] > 0.99
    assert grid.column_direction[1] > 0.8
    assert grid.extent_mm == pytest.approx((80, 80))


def test_every_level_of_a_phantom_gets_the_slice_through_its_disc(phantom, landmarks):
    _, views = axial_levels(phantom.study, landmarks, [Says([(16, 20), (16, 11)])])
    slices = phantom.study.slices(AXIAL_T2)
    for level, view in enumerate(views):
        nearest = min(abs(float(item.plane.distance(landmarks.canal[level]))) for item in slices)
        if view is None:
            assert nearest > 5
        else:
            assert abs(float(view.item.plane.distance(landmarks.canal[level]))) < nearest + 3


def test_recesses_come_from_the_maps_left_on_the_left(phantom, landmarks):
    view = next(v for v in axial_levels(phantom.study, landmarks, [Says([(16, 20), (16, 11)])])[1] if v)
    assert view.recesses[0, 0] > view.recesses[1, 0]
    assert np.allclose(view.grid.to_pixel(view.recesses[0]), (16.5 * STRIDE - 0.5, 20.5 * STRIDE - 0.5), atol=0.1)
    assert view.evidence.min() > 0.9


def test_recesses_without_maps_are_placed_around_the_canal(phantom, landmarks):
    canal = landmarks.canal[2]
    item = axial_showing(phantom.study.slices(AXIAL_T2), canal, normal=landmarks.disc_normal[2])
    (view,) = recesses_on([item], canal[None], [Says([])])
    assert not view.evidence.any()
    assert not view.shows_spine
    assert np.linalg.norm(view.centre - canal) < 12


@pytest.mark.parametrize("roles", [(), ("Sagittal T1",)])
def test_without_axial_series_there_are_no_views(phantom, landmarks, roles):
    study = Study("1", tuple(series for series in phantom.study.series if series.role in roles))
    assert axial_levels(study, landmarks, [Says([])]) == (study, (None,) * 5)


def test_without_nets_there_are_no_views(phantom, landmarks):
    assert axial_levels(phantom.study, landmarks, []) == (phantom.study, (None,) * 5)


class SeesContrast(Says):
    """A net that points at two places of pictures that are not even, and at none of those that are."""

    def forward(self, pictures):
        even = (pictures.amax(dim=(1, 2, 3)) - pictures.amin(dim=(1, 2, 3)) < 1e-3)[:, None, None]
        return torch.where(even, Says([])(pictures), super().forward(pictures))


def with_blank(study, blank):
    """The study with even pixels in those axial slices for which `blank` holds."""
    return study.with_slices(AXIAL_T2, lambda item: _blanked(item) if blank(item) else item)


def _blanked(item):
    return replace(item, pixels=np.zeros_like(item.pixels))


def test_slices_that_show_a_spine_are_all_kept_after_one_look(phantom, landmarks):
    looked_at = []

    class Counts(Says):
        def forward(self, pictures):
            looked_at.append(len(pictures))
            return super().forward(pictures)

    study, _ = axial_levels(phantom.study, landmarks, [Counts([(16, 20), (16, 11)])])
    assert study is phantom.study
    assert sum(looked_at) <= 5


def test_a_slice_without_a_spine_gives_way_to_the_next_one(phantom, landmarks):
    net = SeesContrast([(16, 20), (16, 11)])
    _, before = axial_levels(phantom.study, landmarks, [net])
    nearest = {id(view.item) for view in before if view is not None}
    blank = with_blank(phantom.study, lambda item: id(item) in nearest)
    study, after = axial_levels(blank, landmarks, [net])
    assert not any(view.item.is_blank for view in after if view)
    assert len(study.slices(AXIAL_T2)) == len(blank.slices(AXIAL_T2))
    assert sum(item.is_blank for item in study.slices(AXIAL_T2)) == len(nearest)
    (problem,) = study.problems
    assert re.fullmatch(rf"{len(nearest)} of \d+ axial slices at the discs show no spine and are left out", problem)
    assert [len(study.slices(role)) for role in SAGITTAL] == [len(blank.slices(role)) for role in SAGITTAL]
    moved = [np.linalg.norm(b.item.plane.centre - a.item.plane.centre) for a, b in zip(before, after, strict=True) if b]
    assert moved
    assert all(0 < distance < 20 for distance in moved)


def test_where_no_slice_shows_a_spine_there_is_no_view(phantom, landmarks):
    study, views = axial_levels(phantom.study, landmarks, [Says([])])
    assert views == (None,) * 5
    pairs = zip(phantom.study.slices(AXIAL_T2), study.slices(AXIAL_T2), strict=True)
    count = 0
    for item, left in pairs:
        near = min(abs(float(item.plane.distance(canal))) for canal in landmarks.canal) <= AXIAL_CAP_MM
        assert left.is_blank == near
        assert left.plane is item.plane
        count += near
    assert study.problems == (f"{count} of {count} axial slices at the discs show no spine and are left out",)


def test_the_shipped_networks_tell_a_spine_from_noise_and_other_pictures(phantom, landmarks):
    manifest = read_manifest()
    nets = load_localiser(manifest.axial, manifest.folder)
    study, found = axial_levels(phantom.study, landmarks, nets)
    assert study is phantom.study
    views = [view for view in found if view is not None]
    rng = np.random.default_rng(0)
    items = [view.item for view in views]
    centres = np.array([view.centre for view in views])
    noise = [replace(item, pixels=rng.normal(100, 30, item.pixels.shape).astype(np.float32)) for item in items]
    gradient = [replace(item, pixels=np.indices(item.pixels.shape).sum(axis=0).astype(np.float32)) for item in items]
    for others in (noise, gradient, [_blanked(item) for item in items]):
        assert not any(view.shows_spine for view in recesses_on(others, centres, nets))


class Spread(Says):
    """A net that spreads a probability evenly over two neighbouring cells, the same for both recesses."""

    def __init__(self, probability):
        super().__init__([])
        self.probability = probability

    def forward(self, pictures):
        predicted = super().forward(pictures).exp()
        first = 16 * WINDOW_SHAPE[1] // STRIDE + 20
        predicted[:, :, first : first + 2], predicted[:, :, -1] = self.probability / 2, 1 - self.probability
        return predicted.log()


@pytest.mark.parametrize(("probability", "shows"), [(0.1, False), (0.2, False), (0.4, False), (0.6, True)])
def test_weak_evidence_places_a_recess_but_only_sure_one_shows_a_spine(probability, shows):
    item = make_slice(TILTED, origin=(-50, -50, 0), shape=(100, 100))
    (view,) = recesses_on([item], np.array([[3.0, 4, 5]]), [Spread(probability)])
    assert view.shows_spine == shows
    if probability > 0.15:
        assert np.allclose(view.evidence, probability, atol=1e-3)
        assert np.allclose(view.grid.to_pixel(view.recesses), (16.5 * STRIDE - 0.5, 21 * STRIDE - 0.5), atol=0.01)
    else:
        assert not view.evidence.any()


def test_one_recess_that_is_sure_is_enough_to_show_a_spine():
    item = make_slice(TILTED, origin=(-50, -50, 0), shape=(100, 100))
    (view,) = recesses_on([item], np.zeros((1, 3)), [Says([(16, 20)])])
    assert view.evidence.tolist() == pytest.approx([1, 0])
    assert view.shows_spine


def test_recesses_without_evidence_lie_in_the_slice_beside_and_before_the_canal():
    item = make_slice(TILTED, origin=(-50, -50, 0), shape=(100, 100))
    canal = item.plane.to_mm(np.array([50.0, 50.0])) + 4.0 * item.plane.normal
    (view,) = recesses_on([item], canal[None], [Says([])])
    assert np.allclose(item.plane.distance(np.stack([*view.recesses, view.grid.centre])), 0)
    left, right = view.recesses - item.plane.projected(canal)
    assert left[0] == pytest.approx(-right[0])
    assert 5 < left[0] < 10
    assert left[1] == pytest.approx(right[1])
    assert -4 < left[1] < -1


def test_a_recess_at_the_edge_of_the_window_is_found_there():
    item = make_slice(TILTED, origin=(-50, -50, 0), shape=(100, 100))
    (view,) = recesses_on([item], np.zeros((1, 3)), [Says([(0, 31), (31, 0)])])
    found = view.grid.to_pixel(view.recesses)
    assert np.allclose(found, [(0.5 * STRIDE - 0.5, 31.5 * STRIDE - 0.5), (31.5 * STRIDE - 0.5, 0.5 * STRIDE - 0.5)])


def test_slices_that_are_left_out_are_one_problem_more(phantom, landmarks):
    before = replace(phantom.study, problems=("1.dcm: truncated",))
    study, _ = axial_levels(before, landmarks, [Says([])])
    assert study.problems[0] == "1.dcm: truncated"
    assert len(study.problems) == 2


def test_slices_at_the_discs_are_looked_at_around_the_nearest_canal(phantom, landmarks):
    views = axial._levels_at_discs(phantom.study.slices(AXIAL_T2), landmarks, [Says([])])
    assert len(views) > 5
    for view in views:
        nearest = min(landmarks.canal, key=lambda canal: abs(float(view.item.plane.distance(canal))))
        assert np.allclose(view.grid.centre, view.item.plane.projected(nearest))


def test_a_slice_must_show_a_spine_at_every_level_that_it_is_taken_for(landmarks, monkeypatch):
    low, high = (make_slice(AXIAL, origin=(-50, -50, z), shape=(100, 100)) for z in (0, 6))
    canal = np.array([[0, 0, 0], [0, 0, 2], *[[0, 0, 1000]] * 3], float)
    without = {(id(low), 2.0), (id(high), 0.0)}

    def seen(slices, points, nets):
        sure = [0.0 if (id(item), point[2]) in without else 1.0 for item, point in zip(slices, points, strict=True)]
        return [
            AxialLevel(item, item.plane, np.zeros((2, 3)), np.full(2, p)) for item, p in zip(slices, sure, strict=True)
        ]

    monkeypatch.setattr(axial, "recesses_on", seen)
    here = replace(landmarks, canal=canal, disc_normal=np.tile([0.0, 0, 1], (5, 1)))
    study, views = axial_levels(Study("1", (Series("1", AXIAL_T2, (low, high)),)), here, ["a net"])
    assert [view and view.item for view in views] == [None, high, None, None, None]
    assert [item.is_blank for item in study.slices(AXIAL_T2)] == [True, False]
    assert study.problems == ("1 of 2 axial slices at the discs show no spine and are left out",)
