import numpy as np
import pytest

from lumbar_kernel.slice_choice import axial_showing, nearest_sagittal, sagittal_showing, stack_around
from tests.conftest import AXIAL, SAGITTAL, make_slice

TILTED = (np.array([1.0, 0, 0]), np.array([0.0, np.cos(0.5), np.sin(0.5)]))
UP = np.array([0.0, 0, 1])


def block(axes, heights):
    return [make_slice(axes, origin=(-50, -50, z), shape=(100, 100)) for z in heights]


def test_neighbours_are_the_nearest_of_the_same_block_in_any_file_order():
    stack = [make_slice(AXIAL, origin=(0, 0, z)) for z in (0, 4, 8, 12)]
    tilted = (AXIAL[0], np.array([0, np.cos(0.4), np.sin(0.4)]))
    others = [make_slice(tilted, origin=(0, 0, z)) for z in (3, 5)]
    for slices in ([*stack, *others], [*others, *stack[::-1]]):
        assert stack_around(slices, stack[1], count=3) == (stack[0], stack[1], stack[2])
        assert stack_around(slices, stack[3], count=3) == (stack[2], stack[3], None)
        assert stack_around(slices, stack[1], count=5) == (None, *stack)


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


def test_of_sagittal_slices_the_nearest_that_holds_the_point_is_taken_and_none_far_away():
    near, far = (make_slice(origin=(x, 0, 0)) for x in (1, 6))
    elsewhere = make_slice(origin=(0, 500, 0))
    point = np.array([0.0, 12, -20])
    assert sagittal_showing([far, elsewhere, near], point) is near
    assert nearest_sagittal([far, elsewhere, near], point) is elsewhere
    assert sagittal_showing([far, elsewhere, near], point - [10, 0, 0]) is None
    assert nearest_sagittal([far, elsewhere, near], point - [10, 0, 0]) is elsewhere


def test_the_nearest_slice_wins_over_all_blocks():
    slices = block(AXIAL, range(0, 40, 4))
    assert axial_showing(slices, np.array([0, 0, 13.0]), normal=UP) is slices[3]


def test_of_two_slices_equally_near_the_aligned_one_wins():
    straight, tilted = block(AXIAL, [0.0])[0], block(TILTED, [-27.0])[0]
    slanted = tilted.plane.normal
    assert axial_showing([straight, tilted], np.zeros(3), normal=UP) is straight
    assert axial_showing([straight, tilted], np.zeros(3), normal=slanted) is tilted


def test_a_level_that_was_not_scanned_has_no_slice():
    assert axial_showing(block(AXIAL, [0, 4]), np.array([0, 0, 30.0]), normal=UP) is None
    assert axial_showing(block(AXIAL, [0, 4]), np.array([300.0, 0, 0]), normal=UP) is None
    assert axial_showing([], np.zeros(3), normal=UP) is None


@pytest.mark.parametrize(("gap", "degrees", "beside"), [(11, 3, True), (13, 0, False), (1, 0, True), (4, 8, False)])
@pytest.mark.parametrize("turn", [1, -1])
def test_neighbours_lie_within_12_mm_and_5_degrees_whichever_way_their_normals_point(gap, degrees, beside, turn):
    angle = np.radians(degrees)
    axes = (turn * AXIAL[0], np.array([0, np.cos(angle), np.sin(angle)]))
    middle = make_slice(AXIAL)
    off = middle.plane.centre - make_slice(axes).plane.centre
    other = make_slice(axes, origin=off + gap * UP)
    assert stack_around([middle, other], middle, count=3) == (None, middle, other if beside else None)


def test_a_stack_is_continued_by_other_series_only_where_its_own_ends():
    own, others = ([make_slice(AXIAL, origin=(0, 0, z)) for z in heights] for heights in ((0, 4, 8), (-3, 3, 7, 12)))
    assert stack_around(own, own[1], count=5, others=others) == (others[0], *own, others[3])


@pytest.mark.parametrize(("apart", "shown"), [(9.5, True), (10.5, False)])
def test_a_slice_shows_what_is_at_most_10_mm_away(apart, shown):
    sagittal, axial = make_slice(origin=(apart, 0, 0)), block(AXIAL, [apart])[0]
    assert sagittal_showing([sagittal], np.array([0.0, 12, -20])) is (sagittal if shown else None)
    assert axial_showing([axial], np.zeros(3), normal=UP) is (axial if shown else None)


@pytest.mark.parametrize(("farther", "aligned"), [(3.0, True), (4.0, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_slice_tilted_by_28_degrees_gives_way_to_an_aligned_one_3_mm_farther(farther, aligned, sign):
    straight, tilted = block(AXIAL, [farther])[0], block(TILTED, [-27.0])[0]
    point = tilted.plane.projected(np.zeros(3))
    chosen = axial_showing([straight, tilted], point, normal=sign * UP)
    assert chosen is (straight if aligned else tilted)


@pytest.mark.parametrize(("column", "shown"), [(5, True), (3, False)])
def test_an_axial_slice_shows_no_canal_at_the_very_edge_of_its_frame(column, shown):
    (item,) = block(AXIAL, [0.0])
    point = item.plane.to_mm(np.array([50.0, column]))
    assert axial_showing([item], point, normal=UP) is (item if shown else None)
