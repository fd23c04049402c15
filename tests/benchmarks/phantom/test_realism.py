import numpy as np

from benchmarks.phantom import realism


def noisy_pictures(rng, count, *, noise):
    rows, columns = np.mgrid[:96, :96]
    for _ in range(count):
        waves = np.sin(rows / rng.uniform(6, 9)) + np.cos(columns / rng.uniform(6, 9))
        yield np.clip(128 + 50 * waves + rng.normal(0, noise, waves.shape), 1, 255).astype(np.uint8)


def test_pictures_of_one_kind_lie_near_and_noisier_ones_far():
    rng = np.random.default_rng(0)
    real = [
        realism.Sample(str(k), "pack", realism.statistics(picture))
        for k, picture in enumerate(noisy_pictures(rng, 60, noise=4))
    ]
    same, noisier = ([realism.statistics(p) for p in noisy_pictures(rng, 20, noise=n)] for n in (4, 12))
    sections = [realism.realism({realism.MIDDLE_T2: made}, {realism.MIDDLE_T2: real}) for made in (same, noisier)]
    near_by, far = ({f.what.split(", ")[1]: f.found for f in section.findings} for section in sections)
    assert max(near_by.values()) < 0.8
    assert far["noise"] > 3
    assert far["spectrum"] > 2
