import signal
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.robustness.dicom_elements import join as joined
from benchmarks.robustness.dicom_elements import split
from benchmarks.robustness.fuzz import check_file
from benchmarks.robustness.mutations import CHANGES

BOMBS = ("RLE bomb", "JPEG bomb", "deflate bomb", "sequences")
"""Take seconds to make; the test with the memory limit has some of each."""


@pytest.fixture(scope="module")
def sound(dataset):
    return next(dataset.rglob("*.dcm"))


@pytest.fixture
def _soon():
    """Ends a test that hangs."""

    def late(*_):
        msg = "reading took longer than a minute"
        raise TimeoutError(msg)

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_splitting_and_joining_gives_the_file_back(sound):
    raw = sound.read_bytes()
    assert joined(split(raw))[128:] == raw[128:]


@pytest.mark.usefixtures("_soon")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(sorted(set(CHANGES) - set(BOMBS))), min_size=1, max_size=3), seed=st.integers(0, 999)
)
@example(kinds=["wrong frames"], seed=7)  # two values for NumberOfFrames
def test_a_file_broken_in_several_ways_is_read_or_refused_by_name(sound, tmp_path, kinds, seed):
    path, changed = tmp_path / "broken.dcm", sound.read_bytes()
    for number, kind in enumerate(kinds):
        try:
            changed = CHANGES[kind](changed, np.random.default_rng([seed, number]))
        except (ValueError, IndexError, struct.error):  # too broken to be broken further
            break
    path.write_bytes(changed)
    result, reason = check_file(path)
    assert result in ("read", "refused"), reason
    assert (result == "read") == (reason == "")
