from __future__ import annotations

import os

import pytest

from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.runtime import shared_memory
from tests.runtime.conftest import same


def test_pixels_survive_the_block_and_the_block_does_not(studies):
    study, name = read_study(studies[1]), f"lumbar_{os.getpid()}_test"
    packed, in_block = shared_memory.pack(study, name)
    assert in_block
    assert packed.series[0].slices[0].pixels.size == 0
    assert same(shared_memory.unpack(packed, name), study)
    with pytest.raises(FileNotFoundError):
        shared_memory.unpack(packed, name)


def test_a_block_left_behind_is_discarded_and_a_missing_one_is_no_matter(studies):
    name = f"lumbar_{os.getpid()}_test"
    shared_memory.pack(read_study(studies[1]), name)
    shared_memory.discard(name)
    shared_memory.discard(name)


def test_without_room_for_a_block_the_study_travels_whole(studies, monkeypatch):
    monkeypatch.setattr(shared_memory, "HEADROOM", 1 << 60)
    study = read_study(studies[1])
    packed, in_block = shared_memory.pack(study, "lumbar_never")
    assert (packed is study, in_block) == (True, False)
