"""Which studies the identities of files belong to: never two people in one study, however their UIDs were made."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lumbar_kernel.dicom.identity import FileIdentity

Patient = tuple[str, ...]
Place = tuple[Path, FileIdentity]
"""A folder and an identity found in it."""

Warn = Callable[..., None]
"""`logger.warning`, or another level while more is to come."""

MAX_SCOUT = 5
"""Slices that a scout may have in each direction."""

MIN_ALONE = 3
"""Files that have to stand alone in a UID, or in another value, before it counts as made for each file."""


class StudyKey(NamedTuple):
    """What makes a study one.

    Attributes:
        uid: StudyInstanceUID, empty where it is absent or made for each file.
        folder: that holds the study where no UID does, else None.
        patient: the most complete form of the patient, empty when unknown.
    """

    uid: str
    folder: Path | None
    patient: Patient


def study_keys(counts: Mapping[Place, int], root: Path, *, warn: Warn) -> dict[Place, StudyKey]:
    """The study of each identity in each folder.

    Files are grouped by StudyInstanceUID, and by folder where it is absent or made for each file: a folder with several
    stacks is a study, other folders side by side are the series of one. Some archives copy
    UIDs between patients; grading two people as one would be worse than any other mistake here, so each group is
    divided by PatientID, PatientBirthDate and PatientSex.

    Args:
        counts: files of each identity in each folder.
        root: folder that holds all others.
        warn: logs a message with its arguments.
    """
    single = single_file_studies(counts)
    whole = _whole_studies(counts)
    groups: dict[tuple[str, Path | None], list[Place]] = defaultdict(list)
    for folder, identity in counts:
        uid = "" if (folder, identity) in single else identity.study_uid
        above = None if uid else folder if folder == root or folder in whole else folder.parent
        groups[uid, above].append((folder, identity))
    keys: dict[Place, StudyKey] = {}
    for (uid, above), places in groups.items():
        people = most_complete(identity.patient for _, identity in places)
        if (count := len(set(people.values()))) > 1:
            what = f"StudyInstanceUID {uid}" if uid else "a missing StudyInstanceUID"
            warn("%s is shared by %d patients, each is read as a study of its own", what, count)
        if not uid and () in people and (folders := len({folder for folder, _ in places})) > 1:
            warn("files without StudyInstanceUID and PatientID in %d folders are read as one study", folders)
        keys.update((place, StudyKey(uid, above, people[place[1].patient])) for place in places)
    return keys


def _whole_studies(counts: Mapping[Place, int]) -> set[Path]:
    """The folders that hold slices in two directions, more than scouts have: studies by themselves, not series."""
    slices: Counter[tuple[Path, str]] = Counter()
    for (folder, identity), count in counts.items():
        slices[folder, identity.axis] += count
    stacks = Counter(folder for (folder, axis), count in slices.items() if axis and count > MAX_SCOUT)
    return {folder for folder, directions in stacks.items() if directions > 1}


def most_complete(patients: Iterable[Patient]) -> dict[Patient, Patient]:
    """For each patient the one other that says the same and more, where there is exactly one, else the patient itself.

    An examination may hold files with and without the birth date, and files without any patient.
    """
    unique = set(patients)
    by_pattern: dict[tuple[int, ...], set[Patient]] = defaultdict(set)
    for patient in unique:
        by_pattern[tuple(place for place, value in enumerate(patient) if value)].add(patient)
    fuller: dict[Patient, set[Patient]] = {patient: set() for patient in unique}
    for small, few in by_pattern.items():
        for large, many in by_pattern.items():
            if set(small) < set(large):
                same = defaultdict(set)
                for patient in many:
                    same[tuple(patient[place] for place in small)].add(patient)
                for patient in few:
                    fuller[patient] |= same[tuple(patient[place] for place in small)]
    return {patient: _only_final(patient, fuller) for patient in unique}


def _only_final(patient: Patient, fuller: Mapping[Patient, set[Patient]]) -> Patient:
    final = [other for other in fuller[patient] if not fuller[other]]
    return final[0] if len(final) == 1 else patient


def single_file_studies(counts: Mapping[Place, int]) -> set[Place]:
    """The places whose StudyInstanceUID was made for each file, as some anonymisers do.

    These are single files of one folder, three or more, that provably show one person in one examination: the same
    patient, and where the patient is unknown the same frame of reference or series.
    """

    def owner_of(place: Place) -> object:
        _, identity = place
        return identity.study_uid and (identity.patient or identity.frame_of_reference or identity.series_uid)

    return single_files(counts, lambda identity: identity.study_uid, owner_of)


def single_files(
    counts: Mapping[Place, int], uid_of: Callable[[FileIdentity], str], owner_of: Callable[[Place], object]
) -> set[Place]:
    """The places that are alone in a UID, one file of one frame each, where a folder has several of one owner."""
    files: Counter[str] = Counter()
    for (_, identity), count in counts.items():
        files[uid_of(identity)] += count
    alike: dict[tuple[Path, object], list[Place]] = defaultdict(list)
    for place in counts:
        folder, identity = place
        if files[uid_of(identity)] == 1 and not identity.multi_frame and (owner := owner_of(place)):
            alike[folder, owner].append(place)
    return {place for places in alike.values() if len(places) >= MIN_ALONE for place in places}
