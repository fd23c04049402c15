import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR, Plane, SlicePlane, plane_of, unit

NUMBER = st.floats(-200, 200)
POINT = st.tuples(NUMBER, NUMBER, NUMBER).map(np.array)
SPACING = st.floats(0.1, 3.0)


def rotation(angles):
    """Rotation about x, y and z in turn."""
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = [index for index in range(3) if index != axis]
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turned = step @ turned
    return turned


@st.composite
def slice_planes(draw):
    """Slices of any place, tilt, size and spacing, rows and columns spaced apart."""
    axes = rotation(draw(st.tuples(*[st.floats(-np.pi, np.pi)] * 3)))
    shape = (draw(st.integers(2, 600)), draw(st.integers(2, 600)))
    return SlicePlane(draw(POINT), axes[0], axes[1], draw(SPACING), draw(SPACING), shape)


def sagittal(*, shape=(10, 20), row_spacing=0.5, column_spacing=0.25):
    """A sagittal slice: columns run backwards, rows run down."""
    return SlicePlane(np.array([5.0, -40.0, 70.0]), POSTERIOR, -CRANIAL, row_spacing, column_spacing, shape)


@given(slice_planes(), st.tuples(NUMBER, NUMBER).map(np.array))
def test_pixel_to_mm_and_back_is_where_it_began(plane, row_column):
    np.testing.assert_allclose(plane.to_pixel(plane.to_mm(row_column)), row_column, atol=1e-6)


@given(slice_planes(), POINT)
def test_a_point_is_its_projection_plus_its_distance_along_the_normal(plane, point):
    projected = plane.to_mm(plane.to_pixel(point))
    np.testing.assert_allclose(projected + plane.distance(point) * plane.normal, point, atol=1e-6)
    np.testing.assert_allclose(plane.projected(np.stack([point, point])), [projected] * 2, atol=1e-6)


@given(slice_planes())
def test_pixels_lie_on_the_slice_and_the_normal_has_length_one(plane):
    assert np.linalg.norm(plane.normal) == pytest.approx(1)
    corners = np.array([[0, 0], [plane.shape[0] - 1, plane.shape[1] - 1]], dtype=float)
    np.testing.assert_allclose(plane.distance(plane.to_mm(corners)), 0, atol=1e-6)
    np.testing.assert_allclose(plane.to_mm(corners).mean(axis=0), plane.centre, atol=1e-6)


@given(slice_planes())
def test_corners_bound_every_pixel_and_heights_every_corner(plane):
    everywhere = plane.pixel_centres @ CRANIAL
    assert plane.heights == pytest.approx((everywhere.min(), everywhere.max()))
    last = np.array(plane.shape) - 1
    assert np.allclose(plane.to_pixel(plane.corners), [[0, 0], [0, last[1]], [last[0], 0], last], atol=1e-6)


def test_rows_and_columns_keep_their_own_spacing_and_direction():
    down, back = sagittal().to_mm(np.array([[1.0, 0.0], [0.0, 1.0]])) - sagittal().origin
    np.testing.assert_allclose(down, [0, 0, -0.5])
    np.testing.assert_allclose(back, [0, 0.25, 0])
    assert sagittal().extent_mm == (5.0, 5.0)


def test_many_points_give_the_same_as_one_by_one():
    points = np.random.default_rng(0).normal(size=(4, 5, 3))
    plane = sagittal()
    single = np.array([[plane.to_pixel(point) for point in line] for line in points])
    np.testing.assert_array_equal(plane.to_pixel(points), single)
    assert plane.to_mm(single).shape == points.shape
    assert plane.distance(points).shape == (4, 5)


def test_contains_ends_at_the_last_pixel_and_moves_in_with_the_margin():
    corners = np.array([[0.0, 0.0], [9.0, 19.0], [9.1, 0.0], [0.0, -0.1]])
    assert sagittal().contains(corners).tolist() == [True, True, False, False]
    assert not sagittal().contains(corners, margin=1).any()
    inside, edge = sagittal().to_mm(np.array([[5.0, 5.0], [0.5, 5.0]]))
    assert [sagittal().shows(point, margin=1) for point in (inside, edge)] == [True, False]


@pytest.mark.parametrize(
    ("axis", "plane"), [(LEFT, Plane.SAGITTAL), (POSTERIOR, Plane.CORONAL), (CRANIAL, Plane.AXIAL)]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_plane_is_that_of_its_axis_whichever_way_it_points(axis, plane, sign):
    assert plane_of(sign * axis) is plane


def test_a_tilted_sacral_block_is_axial_up_to_the_tie_with_coronal():
    def tilted(degrees):
        return plane_of(np.cos(np.radians(degrees)) * CRANIAL + np.sin(np.radians(degrees)) * POSTERIOR)

    assert tilted(44) is Plane.AXIAL
    assert tilted(46) is Plane.CORONAL


def test_a_slice_between_all_three_planes_belongs_to_none():
    assert plane_of(unit(np.ones(3))) is None


@given(POINT.filter(lambda point: np.linalg.norm(point) > 1e-3))
def test_unit_keeps_the_direction(vector):
    assert np.linalg.norm(unit(vector)) == pytest.approx(1)
    np.testing.assert_allclose(unit(vector) * np.linalg.norm(vector), vector, atol=1e-6)


def test_unit_refuses_a_vector_without_direction():
    with pytest.raises(ValueError, match="length zero"):
        unit(np.zeros(3))


def test_steps_lead_from_pixel_to_pixel():
    plane = sagittal()
    start, below, beside = plane.to_mm(np.array([[2.0, 3.0], [3.0, 3.0], [2.0, 4.0]]))
    assert np.allclose([below - start, beside - start], plane.steps)
