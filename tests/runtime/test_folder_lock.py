import errno
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lumbar_kernel.runtime.folder_lock import lock, opened

fcntl = pytest.importorskip("fcntl", reason="folders cannot be locked on this system")


def test_a_folder_that_another_process_looks_at_is_locked_when_it_has_looked(tmp_path):
    locked = []
    with opened(tmp_path) as own, ThreadPoolExecutor() as threads:
        with opened(tmp_path) as other:
            assert lock(other, wait=False)
            assert lock(own, wait=False) is False
            locked.append(threads.submit(lock, own, wait=True))
            time.sleep(0.05)
            assert not locked[0].done()
        assert locked[0].result()


def test_where_folders_cannot_be_locked_nobody_is_said_to_hold_them(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with opened(tmp_path) as handle:
        assert lock(handle, wait=False) is None


@pytest.mark.parametrize("kind", ["absent", "file", "link"])
def test_only_folders_are_opened(tmp_path, kind):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    with opened(tmp_path / kind) as handle:
        assert handle is None
