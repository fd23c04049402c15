import subprocess
import sys

import cv2
import torch

from lumbar_kernel.runtime.process_settings import one_thread

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
