import time

import pytest

from benchmarks.speed.utilisation import watched_utilisation


def test_a_machine_without_the_tool_is_not_watched():
    with watched_utilisation("no-such-tool") as busy:
        began = time.monotonic()
    assert busy.mean(began - 1, time.monotonic()) is None


def test_only_what_was_seen_between_the_two_moments_counts(tmp_path, monkeypatch):
    tool = tmp_path / "driver-tool"
    tool.write_text("#!/bin/sh\necho 20; echo 60; echo '[N/A]'; exec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    began = time.monotonic()
    with watched_utilisation("driver-tool") as busy:
        while busy.mean(began, time.monotonic()) != pytest.approx(0.4) and time.monotonic() < began + 20:
            time.sleep(0.01)
    assert busy.mean(began, time.monotonic()) == pytest.approx(0.4)
    assert busy.mean(began - 9, began - 5) is None
    assert time.monotonic() < began + 20
