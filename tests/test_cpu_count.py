import os

import pytest

from lumbar_kernel.cpu_count import usable_cpus


def allowed():
    return len(os.sched_getaffinity(0))


@pytest.mark.parametrize("text", ["max 100000\n", "", "100000 0\n", "nonsense here\n"])
def test_without_a_quota_the_affinity_counts(text, tmp_path):
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cpus(tmp_path / "cpu.max") == allowed()
    assert usable_cpus(tmp_path / "absent") == allowed()


@pytest.mark.parametrize(("text", "cores"), [("50000 100000\n", 1), ("150000 100000\n", 2), ("9900000 100000\n", 99)])
def test_a_quota_of_the_container_limits_them(text, cores, tmp_path):
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cpus(tmp_path / "cpu.max") == min(cores, allowed())


def test_fewer_processors_by_affinity_are_fewer_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert usable_cpus(tmp_path / "absent") == 3
