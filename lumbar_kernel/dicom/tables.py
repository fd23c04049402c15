"""The competition's tables: roles of series, and the studies that a submission must hold."""

from __future__ import annotations

import csv
import io
import logging
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from lumbar_kernel.config import SPLITS
from lumbar_kernel.dicom.packed_files import archive_of
from lumbar_kernel.schema import ROW_ID, SAGITTAL_T2, SERIES_DESCRIPTIONS, split_row_id

logger = logging.getLogger(__name__)

ROLE_SPELLINGS = {name.lower(): name for name in SERIES_DESCRIPTIONS} | {
    "sagittal t2": SAGITTAL_T2,
    "sagittal stir": SAGITTAL_T2,
}

COLUMNS = ("study_id", "series_id", "series_description")
"""Of a table of roles, the competition's or the user's."""

MAX_BYTES = 1 << 28
"""Of a table inside an archive."""

Roles = dict[str, dict[str, str | None]]
"""Study id → series id → role, from a descriptions table."""


def read_tables(folder: Path, *, split: str) -> tuple[Roles, list[str]]:
    """What the competition's tables in a folder say of one split: roles, and the studies of the sample submission.

    The sample submission lists those of the test half.
    """
    roles = read_roles(folder / f"{split}_series_descriptions.csv")
    return roles, sample_studies(folder) if split == SPLITS[0] else []


def sample_studies(folder: Path) -> list[str]:
    """The studies of the `sample_submission.csv` in a folder, in its order; empty where there is none."""
    studies: dict[str, None] = {}
    for row in _read_table(folder / "sample_submission.csv", columns=(ROW_ID,)):
        with suppress(ValueError):  # a row of another competition
            studies[split_row_id(row[ROW_ID])[0]] = None
    return list(studies)


def read_roles(path: Path) -> Roles:
    """Roles by study and series from a descriptions table, empty where the table is missing or has other columns."""
    roles: Roles = defaultdict(dict)
    for row in _read_table(path, columns=COLUMNS):
        description = row["series_description"].strip()
        role = ROLE_SPELLINGS.get(description.lower())
        if role is None:
            logger.warning("%s calls a series %r, its role is found from the headers", path.name, description)
        roles[row["study_id"].strip()][row["series_id"].strip()] = role
    return dict(roles)


def role_of(roles: Roles, study_id: str, series_id: str) -> str | None:
    """The role that a table gives to a series of a study, None where it gives none."""
    of_study = roles.get(study_id, {})
    return of_study.get(series_id, of_study.get(short_id(study_id, series_id)))


def short_id(study_id: str, series_id: str) -> str:
    """What a UID has beyond that of its study: 44036939.2828203845 ends in the number of the table."""
    return series_id.removeprefix(f"{study_id}.")


def _read_table(path: Path, *, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        text = _text_of(path)
        if text is None:
            return []
        reader = csv.DictReader(io.StringIO(text, newline=""))
        absent = [column for column in columns if column not in (reader.fieldnames or ())]
        rows = list(reader)
    except (OSError, csv.Error) as error:
        logger.warning("%s cannot be read (%s), the run continues without it", path, error)
        return []
    if absent:
        logger.warning("%s has no column %s, the run continues without it", path.name, ", ".join(absent))
        return []
    complete = [row for row in rows if all(row.get(column) for column in columns)]
    if len(complete) < len(rows):
        missing = len(rows) - len(complete)
        logger.warning("%s: %d rows without %s are left out", path.name, missing, ", ".join(columns))
    return complete


def _text_of(path: Path) -> str | None:
    """The text of a table, also inside an archive, None where there is none."""
    if path.is_file():
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    found = archive_of(path)
    if found is None or not found[0].is_file(found[1]):
        return None
    return found[0].read(found[1], most=MAX_BYTES)[0].decode("utf-8-sig", errors="replace")
