from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
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


def test_a_volume_for_axial_slices_travels_too(studies):
    study, name = read_study(studies[1]), f"lumbar_{os.getpid()}_volume"
    with_volume = replace(study, volume=study.series[0])
    packed, _ = shared_memory.pack(with_volume, name)
    assert packed.volume.slices[0].pixels.size == 0
    found = shared_memory.unpack(packed, name)
    pairs = zip(found.volume.slices, study.series[0].slices, strict=True)
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in pairs)
    assert same(found, study)


def test_a_block_left_behind_is_discarded_and_a_missing_one_is_no_matter(studies):
    name = f"lumbar_{os.getpid()}_test"
    shared_memory.pack(read_study(studies[1]), name)
    shared_memory.discard(name)
    shared_memory.discard(name)


def test_a_block_of_a_reader_that_was_killed_before_it_had_a_size_is_discarded():
    path = shared_memory.SHARED_FOLDER / f"lumbar_{os.getpid()}_unsized"
    path.touch()
    shared_memory.discard(path.name)
    assert not path.exists()


def test_pixels_are_copied_where_blocks_are_no_files(studies, monkeypatch, tmp_path):
    monkeypatch.setattr(shared_memory, "SHARED_FOLDER", tmp_path / "absent")
    study, name = read_study(studies[1]), f"lumbar_{os.getpid()}_copied"
    packed, in_block = shared_memory.pack(study, name)
    assert in_block
    assert same(shared_memory.unpack(packed, name), study)


def test_without_room_for_a_block_the_study_travels_whole(studies, monkeypatch):
    monkeypatch.setattr(shared_memory, "HEADROOM", 1 << 60)
    study = read_study(studies[1])
    packed, in_block = shared_memory.pack(study, "lumbar_never")
    assert (packed is study, in_block) == (True, False)


@pytest.mark.parametrize("error", [FileNotFoundError(2, "absent"), PermissionError(13, "denied"), OSError(30, "read")])
def test_without_a_folder_that_can_be_written_the_study_travels_whole(studies, monkeypatch, tmp_path, error):
    def refuse(**_):
        raise error

    monkeypatch.setattr(shared_memory.shared_memory, "SharedMemory", refuse)
    monkeypatch.setattr(shared_memory, "SHARED_FOLDER", tmp_path / "absent")
    study = read_study(studies[1])
    assert shared_memory.pack(study, "lumbar_never") == (study, False)
    shared_memory.discard("lumbar_never")


def test_a_block_that_cannot_be_removed_is_left(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "denied")

    monkeypatch.setattr(shared_memory.shared_memory, "SharedMemory", refuse)
    monkeypatch.setattr(shared_memory.Path, "unlink", refuse)
    shared_memory.discard("lumbar_never")


def test_room_that_others_took_meanwhile_lets_the_study_travel_whole(studies, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_memory.os, "posix_fallocate", full)
    study, name = read_study(studies[1]), f"lumbar_{os.getpid()}_full"
    assert shared_memory.pack(study, name) == (study, False)
    assert not (shared_memory.SHARED_FOLDER / name).exists()
