import multiprocessing
import operator
from multiprocessing.process import BaseProcess

import pytest
import torch

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.runtime import devices
from lumbar_kernel.runtime.devices import Devices, check_devices, device_fault, find_devices


def fine(_):
    return None


def test_every_gpu_that_works_takes_part():
    assert check_devices("auto", count=lambda: 2, fault=fine).working == ("cuda:0", "cuda:1")


def test_a_broken_gpu_is_left_out_and_named():
    found = check_devices("auto", count=lambda: 2, fault=lambda name: "no kernel image" if name == "cuda:0" else None)
    assert found.working == ("cuda:1",)
    assert found.broken == {"cuda:0": "no kernel image"}


@pytest.mark.parametrize("asked", ["auto", "cuda:0,cuda:1", "cuda"])
def test_without_a_gpu_that_works_the_processor_grades(asked):
    found = check_devices(asked, count=lambda: 2, fault=lambda _: "dead")
    assert found.working == ("cpu",)
    assert found.broken


def test_only_a_device_that_was_named_has_to_work():
    found = Devices(("cpu",), {"cuda:0": "dead"})
    found.require("auto")
    with pytest.raises(ConfigError, match=r"does not work \(cuda:0: dead\)"):
        found.require("cuda:0")


def test_no_gpu_at_all_is_no_fault():
    found = check_devices("auto", count=lambda: 0, fault=fine)
    assert (found.working, found.broken) == (("cpu",), {})


def test_a_device_named_twice_works_twice():
    assert find_devices("cpu,cpu").working == ("cpu", "cpu")


def test_the_probe_believes_the_processor_and_names_what_is_wrong(monkeypatch):
    assert device_fault("cpu") is None
    assert device_fault("cuda:99")
    honest = torch.nn.functional.conv2d
    results = iter((0.0, 1.0))
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *a: honest(*a) + next(results))
    assert "off by" in device_fault("cpu")
    results = iter((0.0, float("nan")))
    assert "off by" in device_fault("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_found_out_in_a_process_of_its_own():
    found = find_devices("cuda:0")
    assert found.working == ("cpu",)
    assert found.broken["cuda:0"]


@pytest.mark.parametrize("asked", ["auto", "cuda:0"])
def test_without_a_process_for_the_probe_the_processor_grades(asked, monkeypatch):
    def refuse(_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("lumbar_kernel.runtime.devices._has_driver", lambda: True)
    monkeypatch.setattr(BaseProcess, "start", refuse)
    found = find_devices(asked)
    assert found.working == ("cpu",)
    assert "temporarily unavailable" in found.broken[asked]


def test_a_probe_that_dies_leaves_the_processor(monkeypatch):
    monkeypatch.setattr(devices, "_send_devices", operator.truediv)  # which does not work with what the probe is given
    found = find_devices("cuda:0")
    assert found.working == ("cpu",)
    assert found.broken == {"cuda:0": "the probe died with exit code 1"}


def test_a_probe_that_hangs_leaves_the_processor():
    found = find_devices("cuda:0", seconds=0.01)
    assert found.working == ("cpu",)
    assert "did not answer" in found.broken["cuda:0"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="has no GPU")
def test_a_real_gpu_works():
    assert device_fault("cuda:0") is None
    assert find_devices("auto").working[0] == "cuda:0"


@pytest.mark.parametrize("asked", ["auto", "cuda:99"])
def test_a_process_that_may_start_no_others_probes_by_itself(asked, monkeypatch):
    monkeypatch.setattr(devices, "_has_driver", lambda: True)
    monkeypatch.setattr(devices, "_cuda_count", lambda: 0)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    found = find_devices(asked)
    assert found.working == ("cpu",)
    assert list(found.broken) == [name for name in [asked] if name != "auto"]
