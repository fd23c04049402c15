"""The ladder of what can be known: the noise oracle first, those who must measure below it, the constant last."""

import sys

import numpy as np
import pytest

from benchmarks.phantom.labels import columns
from benchmarks.phantom.ladder import ALONG, in_slices, measured, rung
from benchmarks.phantom.oracle import judge, main, oracle, read
from lumbar_kernel.phantom.grade_thresholds import PROBITS, QUANTILES
from lumbar_kernel.phantom.grid import VoxelGrid
from lumbar_kernel.results.metric import PARTS
from lumbar_kernel.schema import CANAL, FORAMINAL


@pytest.fixture(scope="module")
def scores():
    deviates = np.random.default_rng(0).normal(size=(150, 25)).clip(PROBITS[0], PROBITS[-1])
    return np.stack([np.interp(deviates[:, i], PROBITS, QUANTILES[i]) for i in range(25)], axis=1)


def test_the_oracle_beats_the_constant_and_loses_with_noise(scores):
    labels = {noise: read(scores, noise=noise) for noise in (0.3, 1.2)}
    little, much = (judge(labels[noise], oracle(scores, noise=noise)) for noise in labels)
    constant, _ = judge(labels[1.2], None)
    assert little[0].mean < much[0].mean < constant.mean
    low, high = much[1]["mean"]
    assert low < much[0].mean < high


def test_the_oracle_is_as_good_as_the_design_says(scores):
    found, _ = judge(read(scores, noise=1.0), oracle(scores, noise=1.0))
    for name, expected in (("canal", 0.206), ("foraminal", 0.340), ("subarticular", 0.463)):
        assert getattr(found, name) == pytest.approx(expected, abs=0.09)


def test_slices_hold_the_commonest_tissue_of_their_voxels():
    axis = np.arange(20, dtype=np.float32)
    ids = np.ones((20, 20, 20), np.uint8)
    ids[:, :, ::3] = 2  # one voxel in three never wins
    found = in_slices(VoxelGrid(axis, axis, axis, ids), ALONG, np.random.default_rng(0)).ids
    assert found.shape == ids.shape
    inner = found[:, :, 7:14]
    assert (inner == 1).all()
    ids[:, :, :] = np.arange(20) // 10 + 1
    found = in_slices(VoxelGrid(axis, axis, axis, ids), ALONG, np.random.default_rng(0)).ids
    assert len(np.unique(found[0, 0])) == 2
    assert 1 <= np.count_nonzero(np.diff(found[0, 0])) <= 1


def test_thick_slices_change_measures_and_leave_the_score_alone():
    made = measured(3)
    again = measured(3)
    assert np.array_equal(made.scores, again.scores)
    for name, fine in made.fine.items():
        assert np.array_equal(made.acquired[name], again.acquired[name])
        assert np.isfinite(made.acquired[name]).all()
        assert fine.shape == made.acquired[name].shape
    assert not np.array_equal(made.fine["sac_area"], made.acquired["sac_area"])
    assert np.array_equal(made.fine["disc_height"], made.acquired["disc_height"])


def test_a_rung_that_knows_what_decides_beats_one_that_does_not():
    rng = np.random.default_rng(0)
    names = measured(3).fine
    known = [{name: rng.normal(size=5) for name in names} for _ in range(120)]
    labels = np.zeros((120, 25), np.int64)
    for level in range(5):
        canal, left, right = (*columns(CANAL, level), *columns(FORAMINAL, level))
        labels[:, canal] = np.digitize([own["crowding"][level] for own in known], (0.3, 1.2))
        labels[:, left] = np.digitize([own["fat_left"][level] for own in known], (0.3, 1.2))
        labels[:, right] = np.digitize([own["fat_right"][level] for own in known], (0.3, 1.2))
    blind = [{**own, **{name: np.zeros(5) for name in ("crowding", "fat_left", "fat_right")}} for own in known]
    sees, guesses = (judge(labels, rung(who, labels))[0] for who in (known, blind))
    assert sees.canal < 0.7 * guesses.canal
    assert sees.foraminal < 0.7 * guesses.foraminal


def test_the_command_prints_every_rung(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["phantom_oracle", "--studies", "10", "--workers", "1", "--noise", "1"])
    main()
    printed = capsys.readouterr().out
    assert all(part in printed for part in PARTS)
    for knows in ("the measured narrowing", "all measures but that", "the same from 4 mm slices", "shares of grades"):
        assert f"| 1 | {knows}" in printed
