import sys

import pytest

from benchmarks.phantom.oracle import main, oracle, read, score_answers
from lumbar_kernel.results.metric import PARTS


def test_the_oracle_beats_the_constant_and_loses_with_noise(scores):
    labels = {noise: read(scores, noise=noise) for noise in (0.3, 1.2)}
    little, much = (score_answers(labels[noise], oracle(scores, noise=noise)) for noise in labels)
    constant, _ = score_answers(labels[1.2], None)
    assert little[0].mean < much[0].mean < constant.mean
    low, high = much[1]["mean"]
    assert low < much[0].mean < high


def test_the_oracle_is_as_good_as_designed(scores):
    found, _ = score_answers(read(scores, noise=1.0), oracle(scores, noise=1.0))
    for name, expected in (("canal", 0.206), ("foraminal", 0.340), ("subarticular", 0.463)):
        assert getattr(found, name) == pytest.approx(expected, abs=0.09)


def test_the_command_prints_every_bound(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["oracle", "--studies", "10", "--workers", "1", "--noise", "1"])
    main()
    printed = capsys.readouterr().out
    assert all(part in printed for part in PARTS)
    for knows in ("the measured narrowing", "all measures but that", "the same from 4 mm slices", "label shares"):
        assert f"| 1 | {knows}" in printed
