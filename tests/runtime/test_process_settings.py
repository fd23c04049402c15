import gc
import os
import subprocess
import sys
from contextlib import suppress

import cv2
import pytest
import torch

from lumbar_kernel.runtime import fork_server, persistent_worker, process_settings, worker_process
from lumbar_kernel.runtime.process_settings import KERNELS_KEPT, collection_paused, one_thread, prepare_grading

FAULTS = """
import resource
import numpy as np
from lumbar_kernel.runtime.process_settings import keep_freed_memory

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(1 << 21)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = page_faults()
keep_freed_memory()
page_faults()
print(first, page_faults())
"""


def test_freed_memory_is_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, timeout=60, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 10


def test_one_thread_is_used_inside_and_the_others_return():
    before = torch.get_num_threads(), cv2.getNumThreads()
    with one_thread():
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_inside_and_afterwards_as_before(collects, monkeypatch):
    calls = []
    monkeypatch.setattr(gc, "isenabled", lambda: collects)
    for name in ("disable", "enable"):
        monkeypatch.setattr(gc, name, lambda name=name: calls.append(name))
    with suppress(ZeroDivisionError), collection_paused():
        raise ZeroDivisionError
    assert calls == ["disable", "enable"][: 1 + collects]


@pytest.mark.parametrize(("before", "kept"), [(None, str(KERNELS_KEPT)), ("7", "7")])
def test_all_kernels_are_kept_unless_the_user_says_otherwise(before, kept, monkeypatch):
    variable = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    for name in ("defer_compiler", "keep_freed_memory"):
        monkeypatch.setattr(process_settings, name, lambda: None)
    monkeypatch.setenv(variable, before or "")
    if before is None:
        monkeypatch.delenv(variable)
    prepare_grading()
    assert os.environ[variable] == kept


class ReachedError(Exception):
    """A process has asked to die with its parent."""


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        (fork_server, "_serve", 4),
        (fork_server, "_work", 5),
        (worker_process, "run_alone", 5),
        (persistent_worker, "persistent_worker_process", 3),
    ],
)
def test_no_process_of_a_run_does_anything_before_it_would_die_with_its_parent(module, name, arguments, monkeypatch):
    def reach():
        raise ReachedError

    monkeypatch.setattr(module, "die_with_parent", reach)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(os, "setpgid", lambda *_: None)
    with pytest.raises(ReachedError):
        getattr(module, name)(*[None] * arguments)
