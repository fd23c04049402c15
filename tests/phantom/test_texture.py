import numpy as np
import pytest

from lumbar_kernel.phantom.texture import SIDE, Texture


@pytest.fixture(scope="module")
def texture():
    return Texture.draw(np.random.default_rng(3))


def along(texture, axis, steps):
    points = [np.zeros(len(steps), np.float32)] * 3
    points[axis] = np.asarray(steps, np.float32)
    return texture.at(*points, nodes=(1, 1, 1))


def test_noise_has_mean_zero_and_unit_variance(texture):
    assert texture.values.shape == (SIDE**3,)
    assert texture.values.mean() == pytest.approx(0, abs=0.1)
    assert texture.values.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("axis", range(3))
def test_noise_repeats_after_a_block_in_every_direction(texture, axis):
    steps = np.arange(SIDE)
    assert np.array_equal(along(texture, axis, steps), along(texture, axis, steps + SIDE))


@pytest.mark.parametrize("axis", range(3))
def test_neighbours_are_alike_and_distant_nodes_are_not(texture, axis):
    block = np.moveaxis(texture.values.reshape(SIDE, SIDE, SIDE), axis, 0)
    near, far = (np.corrcoef(block.ravel(), np.roll(block, shift, axis=0).ravel())[0, 1] for shift in (1, 24))
    assert near > 0.9
    assert abs(far) < 0.15


def test_a_point_has_the_same_noise_in_every_series(texture):
    rng = np.random.default_rng(0)
    u, v, s = rng.uniform(0, 40, (3, 500)).astype(np.float32)
    order = rng.permutation(500)
    values = texture.at(u, v, s, nodes=(2.0, 2.0, 2.0))
    assert np.array_equal(values[order], texture.at(u[order], v[order], s[order], nodes=(2.0, 2.0, 2.0)))


def test_noise_below_zero_is_defined_too(texture):
    assert np.isfinite(along(texture, 0, np.arange(-100, 0))).all()
