from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.grids import upright_grid
from lumbar_kernel.resampling import sample
from tests.conftest import SAGITTAL, make_slice


def grid_on(item, point, *, spacing=1.0, shape=(9, 7)):
    return upright_grid(item.plane, np.array(point, float), sagittal=True, spacing=spacing, shape=shape)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8), (1.3, 0.6)])
def test_sampling_reads_the_signal_at_the_right_mm(spacing):
    item = make_slice(spacing=spacing)
    grid = grid_on(item, (0, 8, -10))
    wanted = np.add.outer(np.arange(9) - 4 + 10, 100.0 * (np.arange(7) - 3 + 8))
    assert np.allclose(sample(item, grid)[2:-2, 2:-2], wanted[2:-2, 2:-2], rtol=0.02)


def test_sampling_is_exact_between_pixels_and_fades_to_zero_at_the_edge():
    """A place is not rounded to a fraction of a pixel, as OpenCV 4 does: an error of 1/32 would show."""
    rows, columns = np.mgrid[:40, :30]
    item = make_slice(pixels=(rows + 100.0 * columns + 7.0).astype(np.float32))
    grid = grid_on(item, (0, 12.017, -20.011), shape=(11, 9))
    places = item.plane.to_pixel(grid.pixel_centres)
    assert np.allclose(sample(item, grid), places @ [1.0, 100.0] + 7.0, atol=1e-3)
    edge = item.plane.to_mm(np.array([20.0, 29.75]))
    wanted = 0.25 * item.pixels[20, 29]
    assert sample(item, grid_on(item, edge, shape=(1, 1)))[0, 0] == pytest.approx(wanted, rel=1e-5)


def test_flipped_storage_gives_the_same_upright_picture():
    item = make_slice()
    right, down = SAGITTAL
    flipped = make_slice((-right, down), origin=(0, 29, 0), pixels=item.pixels[:, ::-1].copy())
    upside = make_slice((right, -down), origin=(0, 0, -39), pixels=item.pixels[::-1].copy())
    turned = make_slice((down, right), shape=(30, 40), pixels=item.pixels.T.copy())
    wanted = sample(item, grid_on(item, (0, 12, -20)))
    for other in (flipped, upside, turned):
        assert np.allclose(sample(other, grid_on(other, (0, 12, -20))), wanted, atol=1e-2)


def test_outside_the_frame_is_zero():
    item = make_slice()
    assert not sample(item, grid_on(item, (0, 500, 500))).any()


def test_a_coarse_grid_is_smoothed_before_it_is_sampled():
    noise = np.random.default_rng(0).normal(0, 1, (200, 200)).astype(np.float32)
    item = make_slice(shape=(200, 200), pixels=noise)
    fine, coarse = (sample(item, grid_on(item, (0, 100, -100), spacing=s, shape=(20, 20))) for s in (1.0, 4.0))
    assert coarse.std() < 0.5 * fine.std()
    blurred = sample(item, grid_on(item, (0, 100, -100), shape=(20, 20)), resolution=4.0)
    assert blurred.std() < 0.5 * fine.std()


@pytest.mark.parametrize("spacing", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("place", [(0, 20, -20), (0, -30, 10), (0, 70, -70), (0, 400, 0)], ids=str)
def test_a_part_of_a_grid_shows_what_the_whole_grid_shows_there(spacing, place):
    """Only the part of a slice that a grid needs is blurred; at the frame's edge and outside it nothing may change."""
    item = make_slice()
    item = replace(item, pixels=np.random.default_rng(3).gamma(2, 100, item.pixels.shape).astype(np.float32))
    whole = grid_on(item, place, spacing=spacing, shape=(121, 121))
    part = grid_on(item, place, spacing=spacing, shape=(11, 7))
    expected = sample(item, whole, resolution=2.0)[55:66, 57:64]
    assert np.allclose(sample(item, part, resolution=2.0), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_grid_along_the_slice_and_one_turned_a_little_give_the_same_picture(transposed):
    generator = np.random.default_rng(3)
    item = make_slice(pixels=generator.random((40, 30), np.float32), spacing=(0.9, 1.1))
    grid = grid_on(item, (0, 12.3, -20.4), spacing=0.7, shape=(60, 50))
    if transposed:
        grid = replace(grid, column_direction=grid.row_direction, row_direction=grid.column_direction)
    turned = replace(grid, column_direction=grid.column_direction + 1e-7 * grid.row_direction)
    assert np.allclose(sample(item, grid), sample(item, turned), atol=1e-4)
    assert sample(item, grid).std() > 0.1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8)])
def test_a_slice_sampled_on_its_own_plane_is_itself(spacing):
    item = make_slice(spacing=spacing)
    assert np.allclose(sample(item, item.plane), item.pixels, atol=1e-2)


def test_a_coarse_grid_loses_the_detail_that_it_cannot_show_and_keeps_the_rest():
    rows = np.arange(400, dtype=np.float32)[:, None]
    for wavelength, low, high in ((4.0, 0.3, 0.5), (16.0, 0.9, 1.0)):  # pixels of 2 mm show nothing finer than 4 mm
        wave = np.repeat(np.cos(2 * np.pi * rows / wavelength), 30, axis=1)
        item = make_slice(shape=(400, 30), pixels=wave.astype(np.float32))
        seen = sample(item, grid_on(item, (0, 15, -199), spacing=2.0, shape=(100, 5)))
        assert low < seen.max() < high


def test_only_the_direction_in_which_a_grid_is_coarser_is_blurred():
    noise = np.random.default_rng(0).normal(0, 1, 50).astype(np.float32)
    item = make_slice(spacing=(1.0, 4.0), shape=(200, 50), pixels=np.tile(noise, (200, 1)))
    seen = sample(item, grid_on(item, (0, 4.0 * 25, -100), spacing=4.0, shape=(9, 41)))
    assert np.allclose(seen[4], noise[5:46], atol=1e-4)
    turned = make_slice(SAGITTAL[::-1], spacing=(4.0, 1.0), shape=(50, 200), pixels=item.pixels.T.copy())
    assert np.allclose(
        sample(turned, grid_on(turned, (0, 4.0 * 25, -100), spacing=4.0, shape=(9, 41))), seen, atol=1e-4
    )


@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_flipped_storage_gives_the_same_coarse_picture(spacing):
    pixels = np.random.default_rng(0).normal(100, 20, (40, 30)).astype(np.float32)
    right, down = SAGITTAL
    item = make_slice(pixels=pixels)
    turned = make_slice((-right, -down), origin=(0, 29, -39), pixels=pixels[::-1, ::-1].copy())
    wanted = sample(item, grid_on(item, (0, 12, -20), spacing=spacing))
    assert np.allclose(sample(turned, grid_on(turned, (0, 12, -20), spacing=spacing)), wanted, atol=1e-2)
