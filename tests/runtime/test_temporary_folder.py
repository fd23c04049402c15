import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lumbar_kernel.runtime import temporary_folder as module
from lumbar_kernel.runtime.temporary_folder import PREFIX, new_place, temporary_folder

HOLDER = """
import sys
from lumbar_kernel.runtime.temporary_folder import temporary_folder
with temporary_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""
"""Holds a folder until its input ends."""


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_is_of_this_user_alone_and_removed_with_what_it_holds(temporary, named):
    place = new_place() if named else None
    with temporary_folder(place) as folder:
        assert folder == (place or folder)
        assert folder.parent == temporary
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "inner").mkdir()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_leaves_is_removed_by_the_next_one_and_nothing_else_is(temporary, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER], **pipes) as holder:
        held = Path(holder.stdout.readline().strip())
        with temporary_folder():
            assert held.is_dir()  # its process is alive
        holder.kill()
    assert held.is_dir()
    (tmp_path / "a").mkdir()
    (temporary / f"{PREFIX}link").symlink_to(tmp_path / "a")
    (temporary / "lumbar_kernel_of_another").mkdir()
    with temporary_folder() as folder:
        assert sorted(temporary.iterdir()) == sorted(
            [folder, temporary / f"{PREFIX}link", temporary / "lumbar_kernel_of_another"]
        )
    assert (tmp_path / "a").is_dir()


def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(temporary, monkeypatch):
    lock, swept = module.lock, []

    def slow(handle, *, wait):
        if wait and not swept:
            swept.append(next(temporary.iterdir()))
            swept[0].rmdir()
        return lock(handle, wait=wait)

    monkeypatch.setattr(module, "lock", slow)
    with temporary_folder() as folder:
        assert swept == [folder]
        assert folder.is_dir()
    assert list(temporary.iterdir()) == []


def test_folders_that_cannot_be_locked_are_used_and_never_removed_by_others(temporary, monkeypatch):
    left = temporary / f"{PREFIX}left"
    left.mkdir()
    monkeypatch.setattr(module, "lock", lambda *_, **__: None)
    with temporary_folder() as folder:
        assert folder.is_dir()
    assert list(temporary.iterdir()) == [left]
