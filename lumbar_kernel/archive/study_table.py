"""A table of studies and paths, CSV or Parquet, read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv

from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.dicom.tables import ROLE_SPELLINGS
from lumbar_kernel.errors import ConfigError

SUFFIXES = (".csv", ".parquet")
NEEDED = ("study_id", "path")
OPTIONAL = ("series_id", "role")
COLUMNS = (*NEEDED, *OPTIONAL)


@dataclass(frozen=True)
class TableRow:
    """One row: a file, a folder or an archive of a study; `series` and `role` are empty and None where not given."""

    study: str
    path: str
    series: str = ""
    role: str | None = None

    @property
    def parent(self) -> str:
        """The folder of the path."""
        parent, slash, _ = self.path.rpartition("/")
        return parent or slash  # of the root on disk itself too

    @property
    def place(self) -> tuple[str, str, str, str | None]:
        """What the rows of one folder that are listed together have in common."""
        return self.study, self.parent, self.series, self.role

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def is_table(data: str) -> bool:
    """Whether this names a table, by its suffix."""
    return data.lower().endswith(SUFFIXES)


def folder_and_name(data: str) -> tuple[Folder, str]:
    """The folder of a table, which its paths are relative to, and its name in there."""
    place, slash, name = data.rpartition("/")
    return Folder.of(place or slash or "."), name


def read_rows(data: str) -> Iterator[TableRow]:
    """The rows of a table in its order.

    Raises:
        ConfigError: it cannot be read, or has no column `study_id` or `path`.
    """
    folder, name = folder_and_name(data)
    try:
        for batch in _batches(folder, name):
            found = {key: _texts(batch, key) for key in COLUMNS}
            if absent := [key for key in NEEDED if found[key] is None]:
                msg = f"{name} has no column {', '.join(absent)}; it needs {', '.join(NEEDED)}"
                raise ConfigError(msg)
            nothing = [""] * batch.num_rows
            columns = [found[key] or nothing for key in COLUMNS]
            for study, path, series, role in zip(*columns, strict=True):
                if study and path:
                    yield TableRow(study, path.rstrip("/"), series, ROLE_SPELLINGS.get(role.lower()))
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"the table {data} cannot be read: {error}"
        raise ConfigError(msg) from error


def _batches(folder: Folder, name: str) -> Iterator[pa.RecordBatch]:
    if name.lower().endswith(".parquet"):
        with folder.parquet(name) as file:
            yield from file.iter_batches()
        return
    path = f"{folder.path}/{name}"
    with folder.system.open(path, "rb") as file, pyarrow.csv.open_csv(file) as first:
        present = [key for key in COLUMNS if key in first.schema.names]
    # without the other columns, whose types are guessed from the first rows and need not fit the later ones
    texts = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()), include_columns=present)
    with folder.system.open(path, "rb") as file:
        yield from pyarrow.csv.open_csv(file, convert_options=texts)


def _texts(batch: pa.RecordBatch, name: str) -> list[str] | None:
    if name not in batch.schema.names:
        return None
    return ["" if value is None else str(value).strip() for value in batch.column(name).to_pylist()]
