"""Files with the identities in their headers → studies and series, named after folders where that is clear."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lumbar_kernel.containers import without_suffix
from lumbar_kernel.dicom.identity import FileIdentity
from lumbar_kernel.dicom.persons import Place, StudyKey, Warn, single_files, study_keys

logger = logging.getLogger(__name__)

Found = Mapping[Path, Mapping[FileIdentity | None, Sequence[str]]]
"""Folder → identity → names of the files that have it; None stands for files that cannot be read."""

FilesByFolder = dict[Path, list[str]]
"""Folder → names of files in it."""

Series = dict[str, FilesByFolder]
"""Series id → its files; while grouping, the id is the SeriesInstanceUID, or the path of a folder without one."""

Owners = Mapping[Path, object]
"""Folder → the one owner of all that lies in it at any depth, `SEVERAL` where there are more."""

SEVERAL = object()

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names that may identify a study in tables and names of files."""

GENERIC = re.compile(
    r"(pat?|stu?|se|ser|im|img|cd|dvd|vol)[_-]?\d+|patient|study|series|images?|dicom|export|data", re.IGNORECASE
)
"""Names that writers of media give to the folders of any patient, such as `PAT00000/ST00000/SE00000`."""


@dataclass(eq=False)
class Group:
    """The series of one study.

    Attributes:
        uid: StudyInstanceUID, empty where the headers have none of use.
        home: the folder that holds all of it, and perhaps other studies.
        series: series id → files.
    """

    uid: str
    home: Path
    series: Series = field(default_factory=dict)


def group_by_header(
    found: Found, root: Path, *, warn: Warn = logger.warning, shared: Callable[[Path], bool] = lambda _: False
) -> dict[str, Group]:
    """Study id → its series, by the UIDs and patients in the headers.

    A broken file joins the first readable file of its folder, to be reported there. Neither the order of files nor the
    names of folders change what belongs together.

    Args:
        found: files and identities.
        root: folder that holds all others.
        warn: logs a message with its arguments.
        shared: whether a folder is known to hold several studies, for callers that group a large archive in parts.
    """
    counts = _counts(found)
    studies = _divided(found, counts, study_keys(counts, root, warn=warn))
    _adopt_orphans(found, studies, warn=warn)
    return _named(studies, root, shared)


def series_of(study_id: str, found: Found) -> Series:
    """The series of a study whose files its folder or a table gives, told apart and named as by `group_by_header`."""
    key, counts = StudyKey("", None, ()), _counts(found)
    series = _divided(found, counts, dict.fromkeys(counts, key))[key]
    for folder, names in _orphans(found):
        series[str(folder)][folder] += names
    above = set.intersection(*({folder, *folder.parents} for folder in found))
    home = max(above, key=lambda folder: (folder.name == study_id, len(folder.parts)), default=Path())
    return _named_series(series, home, home)


def _counts(found: Found) -> dict[Place, int]:
    """Number of the readable files of each identity in each folder."""
    return {
        (folder, identity): len(names)
        for folder, of_folder in found.items()
        for identity, names in of_folder.items()
        if identity
    }


def _divided(found: Found, counts: Mapping[Place, int], keys: Mapping[Place, StudyKey]) -> dict[StudyKey, Series]:
    """The studies of these keys by series, without the folders where nothing can be read."""
    # the series whose UID was made for each file
    single = single_files(counts, lambda identity: identity.series_uid, keys.__getitem__)
    studies: dict[StudyKey, Series] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for folder, of_folder in found.items():
        known = next(filter(None, of_folder), None)
        for identity, names in of_folder.items():
            own = identity or known
            if own is not None:
                place = folder, own
                series = str(folder) if place in single or not own.series_uid else own.series_uid
                studies[keys[place]][series][folder] += names
    return studies


def _orphans(found: Found) -> Iterator[tuple[Path, list[str]]]:
    """The folders where nothing can be read, with the names of their files."""
    for folder, of_folder in found.items():
        if not any(of_folder):
            yield folder, [name for names in of_folder.values() for name in names]


def _adopt_orphans(found: Found, studies: dict[StudyKey, Series], *, warn: Warn) -> None:
    """Give the files of folders where nothing can be read to the study of the folders beside them, if it is one."""
    beside: dict[Path, set[StudyKey]] = defaultdict(set)
    for key, series in studies.items():
        for folder in {folder for files in series.values() for folder in files}:
            beside[folder.parent].add(key)
    for folder, names in _orphans(found):
        if len(neighbours := beside[folder.parent]) == 1:
            studies[next(iter(neighbours))][str(folder)][folder] += names
        else:
            for name in names:
                warn("%s is no readable DICOM file and belongs to no study", folder / name)


def _named(studies: Mapping[StudyKey, Series], root: Path, shared: Callable[[Path], bool]) -> dict[str, Group]:
    """The groups by study id: the name of the study's folder where it is plain and its own, else the UID."""
    folders = {key: {folder for files in series.values() for folder in files} for key, series in studies.items()}
    owners = _owners(((key, folder) for key, of_study in folders.items() for folder in of_study), root)
    owners |= {folder: SEVERAL for folder in owners if shared(folder)}
    homes = {key: _home(key, folders[key], len(studies[key]), owners, root) for key in studies}
    names = {key: name for key, home in homes.items() if home and _names_a_study(name := without_suffix(home.name))}
    uses = Counter(name.casefold() for name in names.values())
    patients: dict[tuple[str, Path | None], list[StudyKey]] = defaultdict(list)
    for key in sorted(studies, key=lambda key: key.patient):
        patients[key.uid, key.folder].append(key)
    groups: dict[str, Group] = {}
    for key in sorted(studies, key=str):
        name = names.get(key, "")
        own = name if uses[name.casefold()] == 1 else _made_name(key, patients[key.uid, key.folder], root)
        common = homes[key] or Path(os.path.commonpath(folders[key]))
        groups[_unused(own, groups)] = Group(key.uid, common, _named_series(studies[key], homes[key], root))
    return groups


def _home(key: StudyKey, folders: set[Path], count: int, owners: Owners, root: Path) -> Path | None:
    """The folder that holds a study of so many series and nothing else, None where only the UID can name the study."""
    home = Path(os.path.commonpath(folders))
    if owners[home] != key:
        return None
    if home == root:
        return None if root in folders and key.uid else root
    above = home.parent
    # the folder of a single series; directly below the root it counts as the study's, whatever lies beside it
    return above if len(folders) == count == 1 and above != root and owners[above] == key else home


def _names_a_study(name: str) -> bool:
    return bool(PLAIN.fullmatch(name)) and not GENERIC.fullmatch(name)


def _made_name(key: StudyKey, patients: Sequence[StudyKey], root: Path) -> str:
    """The UID of a study, or its place where it has none; numbered where several patients share it."""
    folder = key.folder or root
    place = "-".join(folder.relative_to(root).parts if folder != root else [without_suffix(root.name)])
    text = re.sub(r"[^A-Za-z0-9._-]", "_", key.uid or place)[:64] or "study"
    return text if len(patients) == 1 else f"{text}.patient{patients.index(key) + 1}"


def _unused(text: str, used: Container[str]) -> str:
    """The text, numbered where it is used already."""
    name, number = text, 1
    while name in used:
        number += 1
        name = f"{text}.{number}"
    return name


def _named_series(series: Series, home: Path | None, root: Path) -> Series:
    """Series id → files: the name of a folder that holds the series and nothing else, else its UID."""
    owners = _owners(((uid, folder) for uid, files in series.items() for folder in files), home or root)
    folders = {uid: next(iter(files)) for uid, files in series.items() if len(files) == 1}
    names = {uid: leaf.name for uid, leaf in folders.items() if leaf != home and owners[leaf] == uid}
    uses = Counter(names.values())
    named: Series = {}
    for uid, files in series.items():
        name = names.get(uid, "")
        series_id = name if uses[name] == 1 else Path(uid).name
        named[_unused(series_id, named)] = files
    return named


def _owners(pairs: Iterable[tuple[object, Path]], root: Path) -> dict[Path, object]:
    """Folder → the one owner of what lies in it at any depth, `SEVERAL` where there are more."""
    owners: dict[Path, object] = {}
    for owner, folder in pairs:
        for place in (folder, *folder.parents):
            if owners.setdefault(place, owner) != owner:
                owners[place] = SEVERAL
            if place == root:
                break
    return owners
