"""Roles that the user gives to series, in a file or one by one, in place of those from tables and headers."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from lumbar_kernel.dicom.tables import COLUMNS, ROLE_SPELLINGS, short_id
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import AXIAL_T2, NO_ROLE, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import SeriesFiles, StudyFiles

logger = logging.getLogger(__name__)

SPELLINGS = ROLE_SPELLINGS | {"t1": SAGITTAL_T1, "t2": SAGITTAL_T2, "axial": AXIAL_T2, "none": NO_ROLE}


@dataclass(frozen=True)
class Overrides:
    """Roles that replace those found, by `STUDY/SERIES` or `SERIES`; `NO_ROLE` leaves a series out.

    A series that is divided may be called by the id of one of its parts, which begins with its own and a blank.

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
        given = {**self.from_file, **self.one_by_one}
        divided = {name: whole for name in given if name not in known and (whole := _whole(name, known))}
        if lost := [name for name in self.one_by_one if name not in known and name not in divided]:
            msg = f"a role is given to a series that is not in the data: {', '.join(lost)}; `inspect` shows their ids"
            raise ConfigError(msg)
        if absent := [name for name in self.from_file if name not in known and name not in divided]:
            logger.warning("%d series of the roles file are not in the data, such as %s", len(absent), absent[0])
        parts: dict[str, dict[str, str]] = {}
        for name, whole in divided.items():
            parts.setdefault(whole, {})[name.removeprefix(whole)] = given[name]
        return tuple(
            replace(study, series=tuple(_with_roles(study, item, given, parts) for item in study.series))
            for study in studies
        )


def _whole(name: str, known: Set[str]) -> str | None:
    """The name of the series of which this may name a part: the longest that is followed by a blank."""
    blanks = (place for place in range(len(name) - 1, 0, -1) if name[place] == " ")
    return next((name[:place] for place in blanks if name[:place] in known), None)


def _with_roles(
    study: StudyFiles, item: SeriesFiles, given: Mapping[str, str], parts: Mapping[str, Mapping[str, str]]
) -> SeriesFiles:
    """A series with the roles given to it and to its parts by its most exact name, else with its own."""
    names = _names(study, item.series_id)
    role = next((given[name] for name in names if name in given), item.role)
    of_parts = {f"{item.series_id}{own}": of for name in reversed(names) for own, of in parts.get(name, {}).items()}
    return replace(item, role=role, part_roles=tuple(of_parts.items()))


def _names(study: StudyFiles, series_id: str) -> tuple[str, ...]:
    """What a series may be called, the most exact first; a UID that begins with the study's also without it."""
    short = short_id(study.study_id, series_id)
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
