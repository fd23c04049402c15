import numpy as np
import pytest

from lumbar_kernel.intensities import MANY, normalise, normalise_bytes, percentiles, to_bytes

VALUES = {
    "signals": lambda rng, count: rng.gamma(2, 300, count),
    "few levels": lambda rng, count: rng.integers(0, 5, count),
    "one far outlier": lambda rng, count: np.append(rng.normal(size=count - 1), 1e9),
    "heavy tail": lambda rng, count: rng.exponential(size=count) ** 4,
    "one level": lambda rng, count: np.full(count, 7),
    "tiny": lambda rng, count: 1e-38 * rng.random(count),
    "huge": lambda rng, count: 1e38 * rng.choice([-1.0, 1.0], count),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("count", [1, 2, 17, MANY - 1, MANY, MANY + 1, 3 * MANY])
def test_percentiles_are_those_of_numpy(kind, count):
    values = VALUES[kind](np.random.default_rng(count), count).astype(np.float32)
    before = values.copy()
    for percentages in ((1.0, 99.0), (0.5, 99.5), (0.0, 100.0), (50.0,)):
        assert np.array_equal(percentiles(values, percentages), np.percentile(values, percentages))
    assert np.array_equal(values, before)


def test_normalise_does_not_see_gain_and_keeps_order():
    image = np.random.default_rng(0).uniform(1, 100, (50, 50)).astype(np.float32)
    assert np.allclose(normalise(image), normalise(image * 37), atol=1e-4)
    assert normalise(image).max() <= 1.5
    assert not normalise(np.zeros((5, 5), np.float32)).any()


@pytest.mark.parametrize("seed", range(20))
def test_bytes_are_normalised_as_numbers_are(seed):
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, 257)
    image = rng.integers(0, levels, size=(3, *rng.integers(1, 40, 2))).astype(np.uint8)
    image[rng.random(image.shape) < rng.random()] = 0
    assert np.allclose(normalise_bytes(image), normalise(image.astype(np.float32)), rtol=1e-5, atol=1e-6)


def test_bytes_do_not_see_gain_and_hold_all_but_the_extremes():
    image = np.arange(10_000, dtype=np.float32).reshape(80, 125)
    seen = to_bytes(image)
    assert np.array_equal(to_bytes(image * 37 + 5), seen)
    assert (np.diff(seen.ravel().astype(int)) >= 0).all()
    assert np.unique(seen).tolist() == list(range(256))
    assert np.count_nonzero(seen == 255) == 50
    assert not to_bytes(np.full((4, 4), 3.0, np.float32)).any()


def test_one_percent_of_the_signal_lies_beyond_either_end_and_stays_within_half_the_range():
    image = np.arange(-5_000, 10_000, dtype=np.float32).reshape(-1, 3)
    image[image < 0] = 0  # what shows nothing counts for neither end
    image[image > 9_980] = 1e9
    seen = normalise(image)
    assert np.count_nonzero(seen[image > 0] == 0) == pytest.approx(100, abs=2)
    assert np.count_nonzero(seen > 1) == pytest.approx(100, abs=2)
    assert seen.max() == 1.5


def test_a_few_pixels_are_no_picture():
    image = np.zeros((8, 8), np.float32)
    image.flat[:15] = np.arange(1, 16)
    assert not normalise(image).any()
    image.flat[15] = 16
    assert normalise(image).any()
