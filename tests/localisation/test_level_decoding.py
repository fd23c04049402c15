import numpy as np
import pytest

from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.localisation.level_decoding import Evidence, decode_levels

LEVELS_MM = np.array([[0, 60 + k * k, 100 - 34.0 * k] for k in range(5)])


def evidence(places, *, mass=1.0, spread=1.0, seed=0):
    """Ten cells of evidence around each place; a place of None gives a level without any."""
    rng = np.random.default_rng(seed)
    points = [np.empty((0, 3)) if p is None else np.asarray(p) + rng.normal(0, spread, (10, 3)) for p in places]
    return Evidence(tuple(points), tuple(np.full(len(p), mass / 10) for p in points))


def test_clear_evidence_is_found_with_confidence():
    found, confidence = decode_levels(evidence(LEVELS_MM))
    assert np.linalg.norm(found - LEVELS_MM, axis=1).max() < 1.5
    assert confidence.min() > 0.9


@pytest.mark.parametrize("hidden", range(5))
def test_a_hidden_level_is_bridged_with_low_confidence(hidden):
    places = [None if k == hidden else place for k, place in enumerate(LEVELS_MM)]
    found, confidence = decode_levels(evidence(places))
    assert np.linalg.norm(found - LEVELS_MM, axis=1).max() < 14
    assert np.argmin(confidence) == hidden
    assert confidence[hidden] < 0.1


def test_one_series_that_counts_wrongly_does_not_shift_the_levels():
    good, shifted = evidence(LEVELS_MM, mass=2.0), evidence([*LEVELS_MM[1:], None], seed=1)
    both = Evidence(
        tuple(np.concatenate(pair) for pair in zip(good.points, shifted.points, strict=True)),
        tuple(np.concatenate(pair) for pair in zip(good.mass, shifted.mass, strict=True)),
    )
    found, confidence = decode_levels(both)
    assert np.linalg.norm(found - LEVELS_MM, axis=1).max() < 3
    assert confidence[:4].max() < 0.8


def test_a_stray_peak_out_of_line_is_passed_over():
    stray = LEVELS_MM.copy()
    clean = evidence(LEVELS_MM)
    points, mass = list(clean.points), list(clean.mass)
    points[2] = np.concatenate([points[2], stray[2] + [0, 60, 40] + np.zeros((5, 3))])
    mass[2] = np.concatenate([mass[2], np.full(5, 0.22)])
    found, _ = decode_levels(Evidence(tuple(points), tuple(mass)))
    assert np.linalg.norm(found[2] - LEVELS_MM[2]) < 3


def test_levels_are_ordered_downwards_for_random_evidence():
    rng = np.random.default_rng(3)
    for seed in range(20):
        places = rng.normal(0, 1, (5, 3)) * [2, 15, 15] + LEVELS_MM
        found, _ = decode_levels(evidence(places, seed=seed))
        assert (np.diff(found[:, 2]) < 0).all()


def test_no_evidence_is_refused():
    with pytest.raises(LocalisationError, match="no sagittal slice"):
        decode_levels(evidence([None] * 5))
