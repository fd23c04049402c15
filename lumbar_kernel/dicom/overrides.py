"""Roles that the user gives to series, in a file or one by one, in place of those from tables and headers."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lumbar_kernel.dicom.tables import ROLE_SPELLINGS
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import AXIAL_T2, NO_ROLE, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import SeriesFiles, StudyFiles

logger = logging.getLogger(__name__)

SPELLINGS = ROLE_SPELLINGS | {"t1": SAGITTAL_T1, "t2": SAGITTAL_T2, "axial": AXIAL_T2, "none": NO_ROLE}
COLUMNS = ("study_id", "series_id", "series_description")


@dataclass(frozen=True)
class Overrides:
    """Roles that replace those found, by `STUDY/SERIES` or `SERIES`; `NO_ROLE` leaves a series out.

    Attributes:
        from_file: of a file, which may name more studies than the data hold.
        one_by_one: of single series; they win.
    """

    from_file: Mapping[str, str] = field(default_factory=dict)
    one_by_one: Mapping[str, str] = field(default_factory=dict)

    def applied_to(self, studies: Iterable[StudyFiles]) -> tuple[StudyFiles, ...]:
        """The studies with these roles.

        Raises:
            ConfigError: a series named one by one is in none of the studies.
        """
        studies = tuple(studies)
        known = {name for study in studies for item in study.series for name in _names(study, item.series_id)}
        if lost := [name for name in self.one_by_one if name not in known]:
            msg = f"a role is given to a series that is not in the data: {', '.join(lost)}; `inspect` shows their ids"
            raise ConfigError(msg)
        if absent := [name for name in self.from_file if name not in known]:
            logger.warning("%d series of the roles file are not in the data, such as %s", len(absent), absent[0])
        given = {**self.from_file, **self.one_by_one}
        return tuple(
            replace(study, series=tuple(replace(item, role=_role(given, study, item)) for item in study.series))
            for study in studies
        )


def _role(given: Mapping[str, str], study: StudyFiles, item: SeriesFiles) -> str | None:
    """The role given to a series by its most exact name, else its own."""
    return next((given[name] for name in _names(study, item.series_id) if name in given), item.role)


def _names(study: StudyFiles, series_id: str) -> tuple[str, ...]:
    """What a series may be called, the most exact first; a UID that begins with the study's also without it."""
    short = series_id.removeprefix(f"{study.study_id}.")
    return f"{study.study_id}/{series_id}", f"{study.study_id}/{short}", series_id, short


def read_overrides(roles: Path | None, series: Sequence[str]) -> Overrides:
    """The roles of a CSV file (study_id, series_id, series_description) and of `SERIES=ROLE` or `STUDY/SERIES=ROLE`.

    A role is one of the competition's three descriptions, or t1, t2, axial, none.

    Raises:
        ConfigError: the file cannot be read, lacks a column, or a role is unknown.
    """
    one_by_one: dict[str, str] = {}
    for text in series:
        name, equals, role = text.rpartition("=")
        if not equals or not name:
            msg = f"a series gets its role as SERIES=ROLE or STUDY/SERIES=ROLE, not {text!r}"
            raise ConfigError(msg)
        one_by_one[name] = _spelled(role, text)
    return Overrides({} if roles is None else _from_file(roles), one_by_one)


def _from_file(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            rows = [] if absent else [[(row[column] or "").strip() for column in COLUMNS] for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        msg = f"the roles file {str(path)!r} cannot be read: {error}"
        raise ConfigError(msg) from error
    if absent:
        msg = f"the roles file {str(path)!r} has no column {', '.join(absent)}; it needs {', '.join(COLUMNS)}"
        raise ConfigError(msg)
    return {f"{study_id}/{series_id}": _spelled(role, str(path)) for study_id, series_id, role in rows}


def _spelled(role: str, place: str) -> str:
    known = SPELLINGS.get(role.strip().lower())
    if known is None:
        msg = f"{place}: unknown role {role!r}; choose one of {', '.join(SPELLINGS)}"
        raise ConfigError(msg)
    return known
