"""Compressed tars: the one container that cannot be read in place, unpacked to a temporary folder."""

from __future__ import annotations

import logging
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lumbar_kernel.containers import COMPRESSED_TAR, container_kind, without_suffix
from lumbar_kernel.dicom.packed_files import BOMB_RATIO, BROKEN, plain_name
from lumbar_kernel.dicom.safe_open import SIZE_LIMIT
from lumbar_kernel.errors import ConfigError

logger = logging.getLogger(__name__)

SPARE_DISK = 0.1
"""Share of the disk's free space that stays free."""

CHUNK = 1 << 20


@contextmanager
def unpacked(data: Path, *, stop: Callable[[], bool] = lambda: False) -> Iterator[tuple[Path, str | None]]:
    """The data in a form that can be read in place, and what was left out of it; a temporary folder is removed again.

    Everything but a compressed tar is given back as it is.

    Args:
        data: folder of studies, or archive.
        stop: asked after each file; when it says so, the rest is left out.

    Raises:
        ConfigError: the tar cannot be read, or the disk has no room for it.
    """
    if container_kind(data) != COMPRESSED_TAR:
        yield data, None
        return
    with tempfile.TemporaryDirectory(prefix="lumbar_kernel_") as folder:
        root = Path(folder) / without_suffix(data.name)
        root.mkdir()
        logger.info("%s is compressed as a whole and cannot be read in place: it is unpacked to %s", data.name, folder)
        if left_out := _unpack(data, root, stop):
            logger.warning("%s", left_out)
        yield root, left_out


def _unpack(data: Path, root: Path, stop: Callable[[], bool]) -> str | None:
    """Unpack regular files into a folder; returns a sentence on what was left out, None where nothing was."""
    room = (1 - SPARE_DISK) * shutil.disk_usage(root).free
    most = max(SIZE_LIMIT, BOMB_RATIO * data.stat().st_size)
    total, left_out = 0, []
    try:
        with tarfile.open(data, "r|*") as archive:
            for member in archive:
                name = plain_name(member.name)
                if not member.isreg() or member.issparse() or name is None or member.size > SIZE_LIMIT:
                    left_out += [] if member.isdir() else [member.name]
                    continue
                total += member.size
                if total > min(room, most):
                    what = "the disk has no room for it" if total > room else "it unpacks like a decompression bomb"
                    msg = f"{data.name} cannot be unpacked: {what}"
                    raise ConfigError(msg)
                _write(archive, member, root / name)
                if stop():
                    return f"the time was up while {data.name} was unpacked; files after {name} are left out"
    except (*BROKEN, OSError) as error:
        if total == 0:
            msg = f"{data.name} cannot be read as a compressed tar: {error}"
            raise ConfigError(msg) from error
        return f"{data.name} breaks off, later files are lost: {error}"
    return f"{data.name}: {len(left_out)} links, devices or huge files, such as {left_out[0]}" if left_out else None


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None  # it is a regular file
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file, CHUNK)
