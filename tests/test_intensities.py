import numpy as np
import pytest

from lumbar_kernel.intensities import normalise, normalise_bytes, to_bytes


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
