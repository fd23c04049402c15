"""The noise oracle: better than anyone who knows less, worse where readers disagree more."""

import sys

import numpy as np
import pytest

from benchmarks.phantom_oracle import main, oracle
from lumbar_kernel.phantom.cuts import PROBITS, QUANTILES


@pytest.fixture(scope="module")
def scores():
    deviates = np.random.default_rng(0).normal(size=(150, 25)).clip(PROBITS[0], PROBITS[-1])
    return np.stack([np.interp(deviates[:, i], PROBITS, QUANTILES[i]) for i in range(25)], axis=1)


def test_the_oracle_beats_the_constant_and_loses_with_noise(scores):
    little, much = (oracle(scores, noise=noise) for noise in (0.3, 1.2))
    assert little["oracle"]["mean"] < much["oracle"]["mean"] < much["constant"]["mean"]
    low, high = much["interval"]["mean"]
    assert low < much["oracle"]["mean"] < high


def test_the_oracle_is_as_good_as_the_design_says(scores):
    figures = oracle(scores, noise=1.0)["oracle"]
    for name, expected in (("canal", 0.206), ("foraminal", 0.340), ("subarticular", 0.463)):
        assert figures[name] == pytest.approx(expected, abs=0.09)


def test_the_command_prints_every_part_of_the_metric(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["phantom_oracle", "--studies", "8", "--workers", "1", "--noise", "1"])
    main()
    printed = capsys.readouterr().out
    assert all(f"| 1 | {name} |" in printed for name in ("canal", "foraminal", "subarticular", "any_severe", "mean"))
