"""A folder of any shape → the files of each study and series, by path where paths settle it and by header where not."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from lumbar_kernel.config import SPLITS
from lumbar_kernel.dicom.headers import FileIdentity, read_identity
from lumbar_kernel.dicom.safe_open import looks_like_dicom
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import ROW_ID, SAGITTAL_T2, SERIES_DESCRIPTIONS, split_row_id
from lumbar_kernel.study import SeriesFiles, StudyFiles

logger = logging.getLogger(__name__)

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
ROLE_SPELLINGS = {name.lower(): name for name in SERIES_DESCRIPTIONS} | {
    "sagittal t2": SAGITTAL_T2,
    "sagittal stir": SAGITTAL_T2,
}

Roles = dict[str, dict[str, str | None]]
"""Study id → series id → role, from a descriptions table."""


def find_studies(data: Path, *, split: str = "test") -> tuple[StudyFiles, ...]:
    """All studies in a folder, sorted by id.

    The competition's folder, its `{split}_images` alone, one study, one series and any nest of DICOM files are
    understood. Where a table is present, its roles are used and its studies appear even without files.

    Raises:
        ConfigError: the folder does not exist or cannot be listed.
    """
    if not _is_folder(data):
        msg = f"the data folder {data} does not exist or is not a folder; give the folder that holds the DICOM studies"
        raise ConfigError(msg)
    data = Path(os.path.abspath(data))  # noqa: PTH100 - resolve() would replace linked study names by their targets
    named = f"{split}_images"
    images = data / named if _is_folder(data / named) else data
    for other in SPLITS:
        if images != data and other != split and _is_folder(data / f"{other}_images"):
            logger.info("%s is graded; %s_images of the same folder is not (split %s)", named, other, other)
    tables = data.parent if data.name == named else data
    roles = _read_roles(tables / f"{split}_series_descriptions.csv")
    expected = [*roles, *(sample_studies(tables) if split == "test" else ())]
    leaves, closed = _leaves(images)
    if images in closed:
        msg = f"the data folder {images} cannot be listed; its files must be readable"
        raise ConfigError(msg)
    settled = images.name == named or bool(roles)
    by_path = {leaf for leaf in leaves if settled and len(leaf.relative_to(images).parts) == 2}
    found: dict[str, dict[str, list[Path]]] = defaultdict(dict)
    for leaf in by_path:
        found[leaf.parent.name][leaf.name] = leaves[leaf]
    for folder in closed:
        # listed among the files of its study, so that reading reports it there by name
        names = folder.relative_to(images).parts
        if settled:
            found[names[0]].setdefault(names[min(1, len(names) - 1)], []).append(folder)
        else:
            logger.warning("%s cannot be listed, its contents are not read", folder)
    loose = {leaf: paths for leaf, paths in leaves.items() if leaf not in by_path}
    for study_id, series in _group_by_header(loose, images).items():
        for series_id, paths in series.items():
            found[study_id].setdefault(series_id, []).extend(paths)
    if images.name == named:
        expected += [folder.name for folder in images.iterdir() if _is_folder(folder) and not _ignored(folder.name)]
    return tuple(
        _study_files(study, found.get(study, {}), roles.get(study, {})) for study in _natural({*found, *expected})
    )


def sample_studies(folder: Path) -> list[str]:
    """The studies of the `sample_submission.csv` in a folder, in its order; empty where there is none."""
    studies: dict[str, None] = {}
    for row in _read_table(folder / "sample_submission.csv", columns=(ROW_ID,)):
        with suppress(ValueError):  # a row of another competition
            studies[split_row_id(row[ROW_ID])[0]] = None
    return list(studies)


def natural_key(name: str) -> tuple[tuple[int, int, str, str], ...]:
    """Sort key that orders numbers inside names by value, so that `2.dcm` comes before `10.dcm`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple(_number_key(part) if part.isdecimal() else (1, 0, part, part) for part in parts)


def _number_key(digits: str) -> tuple[int, int, str, str]:
    """By value, without `int`, which refuses the thousands of digits that a broken UID may have."""
    value = digits.lstrip("0")
    return (0, len(value), value, digits)


def _natural(names: Iterable[str]) -> list[str]:
    return sorted(names, key=natural_key)


def _study_files(study_id: str, series: dict[str, list[Path]], roles: dict[str, str | None]) -> StudyFiles:
    # a UID such as 44036939.2828203845 ends in the series number of the table
    def role(series_id: str) -> str | None:
        return roles.get(series_id, roles.get(series_id.removeprefix(f"{study_id}.")))

    return StudyFiles(
        study_id,
        tuple(
            SeriesFiles(name, role(name), tuple(sorted(series[name], key=lambda path: natural_key(str(path)))))
            for name in _natural(series)
        ),
    )


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "DICOMDIR")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no permission to look at it
        return False


def _leaves(root: Path) -> tuple[dict[Path, list[Path]], list[Path]]:
    """Every folder that directly holds DICOM files, with them, and the folders that cannot be listed.

    Each folder is visited once, under its own name where it has one below the root, else under that of a link to it;
    links to what holds the root are not followed.
    """
    leaves: dict[Path, list[Path]] = {}
    errors: list[OSError] = []
    seen = {_identity(folder) for folder in root.resolve().parents}
    starts = [root]
    for start in starts:  # grows by the linked folders, which come after all others
        for folder, folders, names in os.walk(start, onerror=errors.append):
            if (identity := _identity(Path(folder))) in seen:
                folders.clear()
                continue
            seen.add(identity)
            inner = [Path(folder) / name for name in _natural(folders) if not _ignored(name)]
            starts += [path for path in inner if path.is_symlink()]
            folders[:] = [path.name for path in inner if not path.is_symlink()]
            paths = [Path(folder) / name for name in _natural(names) if not _ignored(name)]
            paths = [path for path in paths if _is_candidate(path)]
            if paths:
                leaves[Path(folder)] = paths
    return leaves, [Path(error.filename) for error in errors]


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_candidate(path: Path) -> bool:
    """A file that should be DICOM by its name, or that is by its first bytes; whether it can be read shows later."""
    return path.suffix.lower() in DICOM_SUFFIXES or looks_like_dicom(path)


def _group_by_header(leaves: dict[Path, list[Path]], root: Path) -> dict[str, dict[str, list[Path]]]:
    """Study id → series id → files, by the UIDs in the headers, named after folders where those agree with the UIDs."""
    series: dict[tuple[str, str], list[Path]] = defaultdict(list)
    orphans: list[Path] = []
    found = {leaf: {path: read_identity(path) for path in paths} for leaf, paths in leaves.items()}
    study_keys = _study_keys(identity for identities in found.values() for identity in identities.values() if identity)
    for leaf, paths in leaves.items():
        identities = found[leaf]
        known = [identity for identity in identities.values() if identity]
        if not known:
            orphans += paths
            continue
        above = str(leaf.parent if leaf != root else leaf)
        for path, identity in identities.items():
            # a broken file joins the series of the first readable file in its folder, to be reported there
            own = identity or known[0]
            series[study_keys[own] or above, own.series_uid or str(leaf)].append(path)
    for path in orphans:
        neighbours = [
            key for key, paths in series.items() if path.parent.parent in {item.parent.parent for item in paths}
        ]
        if len({study for study, _ in neighbours}) == 1:
            series[neighbours[0][0], str(path.parent)].append(path)
        else:
            logger.warning("%s is no readable DICOM file and belongs to no study", path)
    return _name_groups(series, root)


def _study_keys(identities: Iterable[FileIdentity]) -> dict[FileIdentity, str]:
    """The study of each identity: its StudyInstanceUID, with a number where several patients use the same one.

    Some archives copy UIDs between patients; grading two people as one would be worse than any other mistake here.
    """
    patients: dict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
    unique = dict.fromkeys(identities)
    for identity in unique:
        of_study = patients[identity.study_uid]
        if identity.patient:
            of_study.setdefault(identity.patient, len(of_study) + 1)
    for study_uid, numbers in patients.items():
        if len(numbers) > 1:
            what = f"StudyInstanceUID {study_uid}" if study_uid else "a missing StudyInstanceUID"
            logger.warning("%s is shared by %d patients, each is read as a study of its own", what, len(numbers))
    return {
        identity: f"{identity.study_uid}.patient{patients[identity.study_uid].get(identity.patient, 0)}"
        if len(patients[identity.study_uid]) > 1
        else identity.study_uid
        for identity in unique
    }


def _name_groups(series: dict[tuple[str, str], list[Path]], root: Path) -> dict[str, dict[str, list[Path]]]:
    users: dict[Path, set[tuple[str, str]]] = defaultdict(set)  # folder → series in it at any depth
    for key, paths in series.items():
        for path in paths:
            for folder in _upwards(path.parent, root):
                users[folder].add(key)
    named: dict[str, dict[str, list[Path]]] = defaultdict(dict)
    taken: dict[str, str] = {}
    for (study_uid, series_uid), paths in series.items():
        study_folder = _study_folder(study_uid, series, users, root)
        study_id = study_folder.name if study_folder else Path(study_uid).name
        if taken.setdefault(study_id, study_uid) != study_uid:
            study_id = study_uid
        leaf = paths[0].parent
        alone = leaf != study_folder and users[leaf] == {(study_uid, series_uid)}
        own_folder = alone and all(path.parent == leaf for path in paths)
        series_id = leaf.name if own_folder and leaf.name not in named[study_id] else Path(series_uid).name
        named[study_id][series_id] = paths
    return named


def _study_folder(
    study_uid: str,
    series: dict[tuple[str, str], list[Path]],
    users: dict[Path, set[tuple[str, str]]],
    root: Path,
) -> Path | None:
    """The folder that holds a study and nothing else, None where only the UID can name the study."""
    own_series = {key: paths for key, paths in series.items() if key[0] == study_uid}
    folders = {path.parent for paths in own_series.values() for path in paths}
    home = Path(os.path.commonpath(folders))
    if {study for study, _ in users[home]} != {study_uid}:
        return None
    if (
        len(folders) == 1
        and len(own_series) == 1
        and home != root
        and {study for study, _ in users[home.parent]} == {study_uid}
    ):
        return home.parent
    files_in_root = home == root and root in folders
    return None if files_in_root and study_uid != str(root) else home


def _upwards(folder: Path, root: Path) -> Iterator[Path]:
    while folder != root:
        yield folder
        folder = folder.parent
    yield root


def _read_roles(path: Path) -> Roles:
    """Roles by study and series from a descriptions table, empty where the table is missing or has other columns."""
    roles: Roles = defaultdict(dict)
    for row in _read_table(path, columns=("study_id", "series_id", "series_description")):
        description = row["series_description"].strip()
        role = ROLE_SPELLINGS.get(description.lower())
        if role is None:
            logger.warning("%s calls a series %r, its role is found from the headers", path.name, description)
        roles[row["study_id"].strip()][row["series_id"].strip()] = role
    return dict(roles)


def _read_table(path: Path, *, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
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
