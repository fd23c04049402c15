import numpy as np

from benchmarks.phantom import labels, probes
from lumbar_kernel.schema import CANAL
from tests.benchmarks.phantom.conftest import drawn_grades


def test_a_probe_finds_a_planted_shortcut_and_nothing_in_noise():
    rng = np.random.default_rng(0)
    grades = drawn_grades(rng, 150)
    noise = rng.normal(size=(150, 5, 6))
    honest = probes.probe_finding(probes.HEADER, CANAL, noise, grades)
    assert honest.passed, honest
    leak = noise.copy()
    for level in range(5):
        leak[:, level, 0] += 1.5 * grades[:, labels.columns(CANAL, level)].mean(axis=1)
    given_away = probes.probe_finding(probes.HEADER, CANAL, leak, grades)
    assert given_away.passed is False, given_away
    assert given_away.found > 0.1
