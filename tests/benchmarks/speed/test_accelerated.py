import pytest

from benchmarks.speed import accelerated
from benchmarks.speed.accelerated import check_networks


def test_every_network_agrees_with_itself_and_a_changed_one_does_not(trained, monkeypatch):
    monkeypatch.setattr(accelerated, "SECONDS_EACH", 0.0)
    rows = list(check_networks("cpu", trained))
    assert {"sagittal", "axial", "canal_t2"} <= {name for name, *_ in rows}
    assert all(passed and figures["difference"] == pytest.approx(0, abs=1e-6) for _, passed, _, figures in rows)
    monkeypatch.setattr(accelerated, "PROBABILITY_TOLERANCE", -1.0)
    assert not any(passed for _, passed, *_ in check_networks("cpu", trained))
