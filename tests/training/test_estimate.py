from dataclasses import replace

import pytest

from lumbar_kernel.models.storage import to_bytes
from training import estimate
from training.presets import PRESETS
from training.train_grader import TASKS

SMOKE, SMALL = PRESETS["smoke"], PRESETS["small"]


def seconds_of(network, monkeypatch, **changes):
    monkeypatch.setattr(estimate, "_seconds_per_example", lambda _: 0.5)
    return estimate.training_seconds(network, **{"studies": 1000, "phantoms": 0, "packs": False, **changes})


@pytest.mark.parametrize("network", list(SMALL.networks()), ids=lambda network: network.name)
def test_time_follows_the_examples_and_the_steps(network, monkeypatch):
    usual = seconds_of(network, monkeypatch)
    assert seconds_of(replace(network, steps=3), monkeypatch) == 3 * network.batch * 0.5
    assert seconds_of(network, monkeypatch, studies=2000) == pytest.approx(2 * usual, rel=0.05)
    assert seconds_of(network, monkeypatch, packs=True) > usual


@pytest.mark.parametrize("network", list(SMOKE.networks()), ids=lambda network: network.name)
def test_smoke_takes_no_longer_with_more_data(network, monkeypatch):
    usual = seconds_of(network, monkeypatch)
    assert seconds_of(network, monkeypatch, studies=2000) == usual
    assert seconds_of(replace(network, steps=3), monkeypatch) < usual


def test_a_network_is_really_timed():
    first, second = SMOKE.localisers[1], SMOKE.members[0]
    for network in (first, second):
        assert 0 < estimate.training_seconds(replace(network, steps=1), studies=0, phantoms=0, packs=False) < 600


def test_sizes_are_those_of_checkpoints_and_examples():
    whole = estimate.weights_bytes({item: len(item.folds) for item in SMOKE.networks()})
    assert 5e6 < whole < 50e6
    assert estimate.weights_bytes(dict.fromkeys(SMOKE.networks(), 1)) == whole / 2
    assert estimate.cache_bytes(SMOKE, studies=20, phantoms=0) == 2 * estimate.cache_bytes(
        SMOKE, studies=0, phantoms=20
    )


def test_a_checkpoint_is_expected_to_take_what_is_stored():
    network = SMOKE.members[0]
    stored = to_bytes(TASKS[network.task].net(network.backbone).state_dict())
    assert estimate.weights_bytes({network: 3}) == 3 * len(stored)
