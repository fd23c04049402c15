"""The second pass of the index: rows of one range of keys → studies with their series, roles and refusals."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from lumbar_kernel.archive.header_chunks import restored_text, stored_text
from lumbar_kernel.archive.ids import Ids, IdSet, hash64
from lumbar_kernel.archive.index_schema import SERIES
from lumbar_kernel.archive.reasons import plain_reason, plain_reasons
from lumbar_kernel.archive.remote_files import local_files
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.dicom.folders import natural, natural_key
from lumbar_kernel.dicom.grouping import group_by_header, series_of
from lumbar_kernel.dicom.identity import FileIdentity
from lumbar_kernel.dicom.inspection import UNDECIDED, Inspection, inspect_study
from lumbar_kernel.dicom.packed_files import shown_name
from lumbar_kernel.dicom.tables import Roles, role_of
from lumbar_kernel.runtime.reader_process import STUDY_ERRORS
from lumbar_kernel.study import SeriesDecision, SeriesFiles, StudyFiles

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Part:
    """The studies of some rows.

    Attributes:
        table: rows of `SERIES`.
        skipped: phrase → number of files that belong to no study, and of groups that had to be separated.
    """

    table: pa.Table
    skipped: Counter[str]


def study_part(root: Folder, rows: Sequence[Row], *, ids: Ids, shared: IdSet, roles: Roles) -> Part:
    """The studies of rows that hold all files of each of them.

    Args:
        root: folder that the rows are relative to.
        rows: of `header_chunks.ROWS`.
        ids: how ids are published.
        shared: folders, relative to the root, that hold several studies of the whole archive.
        roles: of series, by the competition's table.
    """
    skipped: Counter[str] = Counter()
    sizes = {path: size for row in rows for path, size in zip(_paths(row), row["sizes"], strict=True)}
    base = Path(root.local or f"/{root.path.lstrip('/')}")
    studies = (*_given(rows), *_grouped(rows, base, shared, skipped))
    entries: list[Row] = []
    for number, files in enumerate(_with_roles(study, roles) for study in studies):
        try:
            with local_files(root, [files], whole=False) as (local,):
                found = inspect_study(local, pixels=False)
                found = replace(found, series=(*found.series, *_unread(local, found)))
        except STUDY_ERRORS as error:
            found = Inspection(files.study_id, (), (), (f"the header cannot be read: {error}",))
        entries += _entries(files, found, number, sizes, ids)
    return Part(pa.Table.from_pylist(entries, schema=SERIES), skipped)


def _given(rows: Sequence[Row]) -> Iterator[StudyFiles]:
    """The studies that a table or the layout names, with series by these, else by header."""
    named: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    others: dict[str, dict[Path, dict[FileIdentity | None, list[str]]]] = defaultdict(lambda: defaultdict(dict))
    roles: dict[Path, str | None] = {}
    for row in rows:
        if not (study := restored_text(row["study"])):
            continue
        series, paths = named[study], _paths(row)
        roles.update((path, row["role"]) for path in paths)
        if paths and row["series"]:
            series[restored_text(row["series"])] += paths
        elif paths:
            of_folder = others[study][Path(restored_text(row["folder"]))]
            of_folder.setdefault(_identity(row), []).extend(path.name for path in paths)
    for study, found in others.items():
        for name, files in series_of(study, found).items():
            named[study][name] += [folder / own for folder, names in files.items() for own in names]
    for study in natural(named):
        ordered = {name: _in_order(named[study][name]) for name in natural(named[study])}
        given = {name: next(filter(None, map(roles.get, paths)), None) for name, paths in ordered.items()}
        yield StudyFiles(study, tuple(SeriesFiles(name, given[name], paths) for name, paths in ordered.items()))


def _grouped(rows: Sequence[Row], base: Path, shared: IdSet, skipped: Counter[str]) -> Iterator[StudyFiles]:
    """The studies that headers make, named as in a run of one machine."""
    found: dict[Path, dict[FileIdentity | None, list[str]]] = defaultdict(dict)
    for row in rows:
        if not row["study"]:
            folder = base / restored_text(row["folder"])
            found[folder].setdefault(_identity(row), []).extend(map(restored_text, row["names"]))

    def count(sentence: str, *_: object) -> None:
        skipped[plain_reason(sentence)] += 1

    def is_shared(folder: Path) -> bool:
        return ("" if folder == base else folder.relative_to(base).as_posix()) in shared

    groups = group_by_header(found, base, warn=count, shared=is_shared)
    for study_id in natural(groups):
        group, series = groups[study_id], []
        for name in natural(group.series):
            paths = [folder.relative_to(base) / own for folder, names in group.series[name].items() for own in names]
            series.append(SeriesFiles(name, None, _in_order(paths)))
        yield StudyFiles(study_id, tuple(series), study_uid=group.uid)


def _with_roles(study: StudyFiles, roles: Roles) -> StudyFiles:
    """A study with the roles that a table gives to those of its series that have none yet."""
    series = (replace(item, role=item.role or role_of(roles, study.study_id, item.series_id)) for item in study.series)
    return replace(study, series=tuple(series))


def _identity(row: Row) -> FileIdentity | None:
    if not row["readable"]:
        return None
    return FileIdentity(
        row["study_uid"],
        row["series_uid"],
        tuple(row["patient"]),
        row["frame_of_reference"],
        multi_frame=row["multi_frame"],
        axis=row["axis"],
    )


def _paths(row: Row) -> list[Path]:
    """The paths of a row, relative to the root."""
    folder = Path(restored_text(row["folder"]))
    return [folder / restored_text(name) for name in row["names"]]


def _in_order(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(sorted(dict.fromkeys(paths), key=lambda path: (natural_key(str(path.parent)), natural_key(path.name))))


def _entries(files: StudyFiles, found: Inspection, number: int, sizes: Mapping[Path, int], ids: Ids) -> Iterator[Row]:
    """The rows of a study, one for each series of its files; the decisions on parts of a series are put together."""
    common = {
        "study_number": number,
        "study_id": ids.published(stored_text(files.study_id)),
        "study_uid": ids.published(files.study_uid),
        "study_problems": plain_reasons(found.problems),
    }
    if not files.series:
        yield {**common, "files": 0, "bytes": 0, "slices": 0, "paths": []}
    by_series = _by_series(found.series, [item.series_id for item in files.series])
    for item in files.series:
        decisions = by_series[item.series_id]
        used = [decision for decision in decisions if decision.role]
        shown = (used or decisions or [SeriesDecision(item.series_id, None, "the header cannot be read")])[0]
        undecided = any(decision.reason == UNDECIDED for decision in decisions)
        yield {
            **common,
            "series_id": ids.published(stored_text(item.series_id)),
            "role": shown.role,
            "given_role": item.role,
            "slices": sum(decision.slices for decision in decisions),
            "files": len(item.paths),
            "bytes": sum(sizes[path] for path in item.paths),
            "rows": shown.matrix[0],
            "columns": shown.matrix[1],
            "pixel_mm": shown.pixel_mm[0],
            "step_mm": shown.step_mm,
            "refused": None if shown.role or undecided else plain_reason(shown.reason),
            "paths": [stored_text(str(path)) for path in item.paths],
        }


def _unread(study: StudyFiles, found: Inspection) -> Iterator[SeriesDecision]:
    """A decision on each series of which no file could be read, with what was wrong with the first one."""
    decided = _by_series(found.series, [item.series_id for item in study.series])
    for item in study.series:
        names = () if decided[item.series_id] else tuple(f"{shown_name(path)}: " for path in item.paths)
        if reason := next((sentence for sentence in found.problems if sentence.startswith(names)), None):
            yield SeriesDecision(item.series_id, None, reason)


def _by_series(decisions: Iterable[SeriesDecision], series_ids: Sequence[str]) -> dict[str, list[SeriesDecision]]:
    """The decisions about each series and its contrasts, whose ids have words after its own, as another's may too."""
    found: dict[str, list[SeriesDecision]] = {name: [] for name in series_ids}
    for decision in decisions:
        if own := [name for name in series_ids if f"{decision.series_id} ".startswith(f"{name} ")]:
            found[max(own, key=len)].append(decision)
    return found


def studies_of(rows: Sequence[Row]) -> Iterator[StudyFiles]:
    """The studies of index rows, in their order, with paths relative to the root."""
    series: list[SeriesFiles] = []
    for place, row in enumerate(rows):
        if row["series_id"] is not None:
            paths = tuple(Path(restored_text(path)) for path in row["paths"])
            series.append(SeriesFiles(row["series_id"], row["given_role"], paths))
        if place + 1 == len(rows) or rows[place + 1]["study_number"] != row["study_number"]:
            yield StudyFiles(row["study_id"], tuple(series), study_uid=row["study_uid"] or "")
            series = []


def renamed(table: pa.Table, repeated: Callable[[int], bool]) -> pa.Table:
    """The rows with the UID as the id of every study whose id another one has too, or a mark made of its first path."""
    rows = table.select(["study_id", "study_uid", "study_number", "paths"]).to_pylist()
    first = {row["study_number"]: str(row["paths"][:1]) for row in reversed(rows)}
    names = [
        (row["study_uid"] or f"{own}.{hash64(first[row['study_number']]):016x}") if repeated(hash64(own)) else own
        for row in rows
        for own in (row["study_id"],)
    ]
    place = SERIES.get_field_index("study_id")
    return table.set_column(place, SERIES.field(place), pa.array(names, pa.string()))
