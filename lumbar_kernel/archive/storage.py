"""Folders on disk or behind a URL, and Parquet files in them that appear completely or not at all.

A path without a scheme is a folder on disk. `s3://bucket/folder` and other URLs go through fsspec, which needs the
package of its scheme (s3fs, gcsfs, adlfs …).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.runtime.temporary_folder import temporary_folder

URL = re.compile(r"[a-z][a-z0-9+.-]+://")

COMPRESSION = "zstd"
ROW_GROUP = 1 << 16


def is_url(text: str) -> bool:
    """Whether this names a file system of fsspec rather than a path."""
    return bool(URL.match(text))


def stays_below(path: str | os.PathLike[str]) -> bool:
    """Whether a relative path stays in the folder that it is put behind."""
    path = Path(path)
    return not path.is_absolute() and ".." not in path.parts


@dataclass(frozen=True)
class Folder:
    """A folder by its path or URL; it need not exist. Instances travel to other processes by that text."""

    text: str

    @staticmethod
    def of(place: str | os.PathLike[str]) -> Folder:
        """The folder of a path or URL; paths become absolute."""
        text = os.fspath(place)
        return Folder(text.rstrip("/") if is_url(text) else os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111

    @property
    def local(self) -> Path | None:
        """The folder as a path, None behind a URL."""
        return None if is_url(self.text) else Path(self.text)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        if not is_url(self.text):
            return fsspec.filesystem("file"), self.text
        try:
            system, path = fsspec.core.url_to_fs(self.text)
        except (ImportError, ValueError, OSError) as error:
            msg = f"{self.text} cannot be opened: {error}"
            raise ConfigError(msg) from error
        return system, str(path)

    @property
    def system(self) -> Any:
        """The file system of fsspec."""
        return self._opened[0]

    @property
    def path(self) -> str:
        """The path within the file system."""
        return self._opened[1]

    def __getstate__(self) -> dict[str, str]:
        return {"text": self.text}

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.text}/{name}")

    def names(self) -> list[str]:
        """Names of the files and folders in it, sorted, hidden ones left out; none where it does not exist."""
        try:
            local = self.local
            entries = self.system.ls(self.path, detail=False, refresh=True) if local is None else [*local.iterdir()]
        except FileNotFoundError:
            return []
        names = (str(entry).rstrip("/").rpartition("/")[2] for entry in entries)
        return sorted(name for name in names if name and not name.startswith("."))

    def has(self, name: str) -> bool:
        """Whether it holds a file or folder of this name."""
        return bool(self.system.exists(f"{self.path}/{name}"))

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all it holds; does nothing where there is none."""
        path = f"{self.path}/{name}"
        if self.system.exists(path):
            self.system.rm(path, recursive=True)

    def read_bytes(self, name: str) -> bytes:
        """The content of a file; raises FileNotFoundError."""
        return bytes(self.system.cat_file(f"{self.path}/{name}"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file that appears completely or not at all, and replaces one of the same name."""
        if self.local is None:
            self.system.pipe_file(f"{self.path}/{name}", content)  # stores show an object when it is complete
            return
        self.write_blocks(name, [content])

    def write_blocks(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write a file as `write_bytes` does, block by block."""
        if (folder := self.local) is None:
            with temporary_folder() as temporary:  # a store would keep what it has when the blocks end early
                with (temporary / "file").open("wb") as file:
                    file.writelines(blocks)
                self.system.put_file(str(temporary / "file"), f"{self.path}/{name}")
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(blocks, folder / name)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The object in a JSON file, None where there is no such file."""
        try:
            entry: dict[str, Any] = json.loads(self.read_bytes(name))
        except FileNotFoundError:
            return None
        return entry

    def write_json(self, name: str, entry: dict[str, Any]) -> None:
        """Write an object as a JSON file."""
        self.write_bytes(name, (json.dumps(entry, indent=1, sort_keys=True) + "\n").encode())

    def write_table(self, name: str, table: pa.Table, *, row_group: int = ROW_GROUP) -> None:
        """Write a table as a Parquet file."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression=COMPRESSION, row_group_size=row_group)
        self.write_bytes(name, sink.getvalue().to_pybytes())

    def parquet(self, name: str) -> pq.ParquetFile:
        """A Parquet file, opened; close it or use it as a context manager."""
        if (folder := self.local) is not None:
            return pq.ParquetFile(folder / name)
        system = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(self.system))
        return pq.ParquetFile(system.open_input_file(f"{self.path}/{name}"))

    def read_table(self, name: str, *, columns: list[str] | None = None) -> pa.Table:
        """The table in a Parquet file, with all columns or some."""
        with self.parquet(name) as file:
            return file.read(columns=columns)

    def rows_between(self, name: str, first: int, last: int) -> Iterator[dict[str, Any]]:
        """The rows of a Parquet file with a value of the first column in a range, by which its rows are sorted.

        Only groups of rows that reach into the range are read.
        """
        with self.parquet(name) as file:
            for group in range(file.num_row_groups):
                found = file.metadata.row_group(group).column(0).statistics  # None where there are no rows
                if found is not None and found.max >= first and found.min <= last:
                    rows = file.read_row_group(group)
                    inside = pc.and_(pc.greater_equal(rows[0], first), pc.less_equal(rows[0], last))
                    yield from rows.filter(inside).to_pylist()

    def tables(self, columns: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
        """The Parquet files in it, name after name, in batches of rows with some columns."""
        for name in self.names():
            if name.endswith(".parquet"):
                with self.parquet(name) as file:
                    for rows in file.iter_batches(batch_size=ROW_GROUP, columns=list(columns)):
                        yield name, rows
