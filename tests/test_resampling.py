from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.resampling import centred_grid, normalise, normalise_bytes, sample, stack_around, upright_axes
from tests.conftest import AXIAL, SAGITTAL, make_slice


def grid_on(item, point, *, spacing=1.0, shape=(9, 7)):
    down, right = upright_axes(item.plane, sagittal=True)
    return centred_grid(np.array(point, float), down=down, right=right, spacing=spacing, shape=shape)


def test_grid_and_mm_are_inverse():
    grid = grid_on(make_slice(), (5, 12, -20), spacing=0.7)
    points = np.array([[0, 0], [3.5, 2.25], [8, 6]])
    assert np.allclose(grid.to_pixel(grid.to_mm(points)), points)
    assert np.allclose(grid.to_mm(np.array([4, 3])), (5, 12, -20))


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
    places = item.plane.to_pixel(grid.to_mm(np.moveaxis(np.mgrid[:11, :9], 0, -1)))
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


def test_normalise_does_not_see_gain_and_keeps_order():
    image = np.random.default_rng(0).uniform(1, 100, (50, 50)).astype(np.float32)
    assert np.allclose(normalise(image), normalise(image * 37), atol=1e-4)
    assert normalise(image).max() <= 1.5
    assert not normalise(np.zeros((5, 5), np.float32)).any()


def test_neighbours_are_the_nearest_of_the_same_block_in_any_file_order():
    stack = [make_slice(AXIAL, origin=(0, 0, z)) for z in (0, 4, 8, 12)]
    tilted = (AXIAL[0], np.array([0, np.cos(0.4), np.sin(0.4)]))
    others = [make_slice(tilted, origin=(0, 0, z)) for z in (3, 5)]
    for slices in ([*stack, *others], [*others, *stack[::-1]]):
        assert stack_around(slices, stack[1], count=3) == (stack[0], stack[1], stack[2])
        assert stack_around(slices, stack[3], count=3) == (stack[2], stack[3], None)
        assert stack_around(slices, stack[1], count=5) == (None, *stack)


@pytest.mark.parametrize("seed", range(20))
def test_bytes_are_normalised_as_numbers_are(seed):
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, 257)
    image = rng.integers(0, levels, size=(3, *rng.integers(1, 40, 2))).astype(np.uint8)
    image[rng.random(image.shape) < rng.random()] = 0
    assert np.allclose(normalise_bytes(image), normalise(image.astype(np.float32)), rtol=1e-5, atol=1e-6)


def test_neighbours_follow_the_patient_not_the_normal():
    reverse = (AXIAL[0], -AXIAL[1])
    stack = [make_slice(reverse, origin=(0, 30, z)) for z in (0, 4, 8)]
    assert stack_around(stack, stack[1], count=3) == (stack[0], stack[1], stack[2])


@pytest.mark.parametrize("degrees", [0, 30, 44, 46, 49])
@pytest.mark.parametrize("turn", [1, -1])
def test_the_stack_of_a_steep_axial_block_begins_at_the_feet(degrees, turn):
    angle = np.radians(degrees)
    down = turn * np.array([0, np.cos(angle), np.sin(angle)])
    up = np.array([0, -np.sin(angle), np.cos(angle)])
    stack = [make_slice((AXIAL[0], down), origin=4.0 * k * up) for k in range(3)]
    assert stack_around(stack[::-1], stack[1], count=3) == tuple(stack)


@pytest.mark.parametrize("degrees", [0, 44, 46, 49])
@pytest.mark.parametrize("turn", [1, -1])
def test_the_stack_of_an_oblique_sagittal_series_begins_at_the_right(degrees, turn):
    angle = np.radians(degrees)
    back, left = (np.array([-np.sin(angle), np.cos(angle), 0]), np.array([np.cos(angle), np.sin(angle), 0]))
    stack = [make_slice((turn * back, SAGITTAL[1]), origin=4.0 * k * left) for k in range(3)]
    assert stack_around(stack[::-1], stack[1], count=3) == tuple(stack)


def test_a_gap_ends_a_stack_and_a_slice_at_the_same_place_is_not_a_neighbour():
    near, far = (make_slice(AXIAL, origin=(0, 0, z)) for z in (4, 30))
    middle, again = (make_slice(AXIAL, origin=(0, 0, 0)) for _ in range(2))
    assert stack_around([far, again, near, middle], middle, count=5) == (None, None, middle, near, None)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_grid_along_the_slice_and_one_turned_a_little_give_the_same_picture(transposed):
    generator = np.random.default_rng(3)
    item = make_slice(pixels=generator.random((40, 30), np.float32), spacing=(0.9, 1.1))
    grid = grid_on(item, (0, 12.3, -20.4), spacing=0.7, shape=(60, 50))
    if transposed:
        grid = replace(grid, down=grid.right, right=grid.down)
    turned = replace(grid, down=grid.down + 1e-7 * grid.right)
    assert np.allclose(sample(item, grid), sample(item, turned), atol=1e-4)
    assert sample(item, grid).std() > 0.1
