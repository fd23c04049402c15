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


def joined(*several):
    """The evidence of several sources together."""
    return Evidence(
        tuple(np.concatenate([item.points[level] for item in several]) for level in range(5)),
        tuple(np.concatenate([item.mass[level] for item in several]) for level in range(5)),
    )


def test_evidence_below_a_fifth_is_no_disc():
    with pytest.raises(LocalisationError, match="no sagittal slice"):
        decode_levels(evidence(LEVELS_MM, mass=0.03))


def test_levels_that_no_slice_shows_clearly_have_little_confidence():
    found, confidence = decode_levels(evidence(LEVELS_MM, mass=0.3))
    assert np.linalg.norm(found - LEVELS_MM, axis=1).max() < 1.5
    assert np.allclose(confidence, 0.3, atol=0.01)


@pytest.mark.parametrize("visible", range(5))
def test_one_visible_disc_gives_all_five_a_place(visible):
    found, confidence = decode_levels(evidence([p if k == visible else None for k, p in enumerate(LEVELS_MM)]))
    assert np.linalg.norm(found[visible] - LEVELS_MM[visible]) < 1.5
    assert np.allclose(np.diff(found[:, 2]), -34, atol=4)
    assert np.allclose(found[:, 0], found[visible, 0])
    assert np.flatnonzero(confidence > 0.1).tolist() == [visible]


def test_a_hidden_disc_lies_between_its_neighbours_from_side_to_side():
    places = LEVELS_MM + [[10 + 4 * k, 0, 0] for k in range(5)]
    found, _ = decode_levels(evidence([None if k == 2 else place for k, place in enumerate(places)], spread=0.1))
    assert found[2, 0] == pytest.approx(18, abs=0.5)


def test_a_disc_that_was_taken_for_another_level_is_still_found_where_it_is():
    true = evidence([None if k == 2 else place for k, place in enumerate(LEVELS_MM)])
    moved = LEVELS_MM[2] + [6, 4, -5]
    miscounted = evidence([moved if k == 3 else None for k in range(5)], mass=0.6, spread=0.3)
    found, confidence = decode_levels(joined(true, miscounted))
    assert np.linalg.norm(found[2] - moved) < 1
    assert confidence[2] == 0


def test_discs_lie_one_below_another_and_a_usual_step_apart():
    """Stronger evidence at an impossible place loses to weaker evidence at a possible one."""
    for away in ([0, 0, 34 - 8], [0, 0, -16], [0, 75, 0], [0, -75, 34], [0, 0, 3 * 34]):
        stray = evidence([LEVELS_MM[k] + away if k == 4 else None for k in range(5)], mass=1.0)
        found, _ = decode_levels(joined(evidence(LEVELS_MM, mass=0.5), stray))
        assert np.linalg.norm(found[4] - LEVELS_MM[4]) < 3


def test_weak_evidence_of_a_disc_off_the_usual_step_beats_no_evidence_on_it():
    off = LEVELS_MM[2] + [0, 0, 10]
    clear = evidence([None if k == 2 else place for k, place in enumerate(LEVELS_MM)])
    weak = evidence([off if k == 2 else None for k in range(5)], mass=0.2, spread=0.3)
    found, _ = decode_levels(joined(clear, weak))
    assert np.linalg.norm(found[2] - off) < 1
