from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumbar_kernel.dicom.identity import FileIdentity
from lumbar_kernel.dicom.persons import most_complete, single_file_studies, study_keys

ROOT = Path("/data")
ANN, BOB = ("ann", "1960", "F"), ("bob", "1970", "M")


def keys_of(*identities, folder=ROOT / "a"):
    counts = {(folder, identity): 5 for identity in identities}
    found = study_keys(counts, ROOT, warn=logging.getLogger().warning)
    return [found[folder, identity] for identity in identities]


def test_two_patients_under_one_uid_are_two_studies_and_no_patient_is_named(caplog):
    one, other = keys_of(FileIdentity("1.2", "1", ANN), FileIdentity("1.2", "2", BOB))
    assert one != other
    assert "shared by 2 patients" in caplog.text
    assert "ann" not in caplog.text


@pytest.mark.parametrize("less", [(), ("ann", "", ""), ("ann", "1960", ""), ("", "1960", "F")])
def test_a_patient_known_in_part_is_the_one_who_says_the_same_and_more(less):
    assert len(set(keys_of(FileIdentity("1.2", "1", ANN), FileIdentity("1.2", "2", less)))) == 1


def test_a_patient_known_in_part_who_may_be_either_stays_alone():
    twins = ("ann", "1960", "F"), ("eve", "1960", "F")
    identities = [FileIdentity("1.2", str(k), patient) for k, patient in enumerate([*twins, ("", "1960", "F"), ()])]
    assert len(set(keys_of(*identities))) == 4


def test_the_same_name_with_another_birth_date_is_another_person():
    assert len(set(keys_of(FileIdentity("1.2", "1", ANN), FileIdentity("1.2", "2", ("ann", "1961", "F"))))) == 2


PATIENTS = st.lists(st.tuples(*[st.sampled_from(["", "a", "b"])] * 3).map(lambda item: item if any(item) else ()))


@given(PATIENTS)
def test_joined_patients_never_contradict_each_other(patients):
    joined = most_complete(patients)
    for patient, whole in joined.items():
        assert all(value in ("", other) for value, other in zip(patient, whole, strict=False))
        assert joined[whole] == whole
    assert most_complete(reversed(patients)) == joined


def single(*identities, count=1):
    counts = {(ROOT / "a", identity): count for identity in identities}
    return {identity.study_uid for _, identity in single_file_studies(counts)}


def test_study_uids_made_for_each_file_of_one_patient_count_as_absent():
    files = [FileIdentity(f"1.{k}", f"2.{k}", ANN) for k in range(4)]
    assert single(*files) == {"1.0", "1.1", "1.2", "1.3"}
    assert len(set(keys_of(*files))) == 4  # with several files each they are studies
    alone = study_keys({(ROOT / "a", item): 1 for item in files}, ROOT, warn=print)
    assert len(set(alone.values())) == 1


@pytest.mark.parametrize(
    "files",
    [
        [FileIdentity(f"1.{k}", f"2.{k}") for k in range(4)],  # nobody knows whose they are
        [FileIdentity(f"1.{k}", f"2.{k}", (f"p{k}", "", "")) for k in range(4)],
        [FileIdentity(f"1.{k}", f"2.{k}", ANN, multi_frame=True) for k in range(4)],
        [FileIdentity(f"1.{k}", f"2.{k}", ANN) for k in range(2)],
    ],
)
def test_single_files_that_may_be_studies_stay_studies(files):
    assert single(*files) == set()


def test_unknown_patients_in_one_frame_of_reference_or_series_are_one():
    assert len(single(*(FileIdentity(f"1.{k}", f"2.{k}", frame_of_reference="9") for k in range(3)))) == 3
    assert len(single(*(FileIdentity(f"1.{k}", "2") for k in range(3)))) == 3


def test_a_folder_of_several_stacks_is_a_study_and_one_with_a_scout_is_a_series():
    def keys(count, axes=("x", "z")):
        counts = {(ROOT / name, FileIdentity("", "", axis=axis)): count for name in "ab" for axis in axes}
        return set(study_keys(counts, ROOT, warn=lambda *_: None).values())

    assert len(keys(6)) == 2
    assert len(keys(5)) == 1
    assert len(keys(12, ("x", ""))) == 1  # an unknown direction is none


def test_files_beside_the_folders_of_their_study_belong_to_it():
    counts = {(folder, FileIdentity("", "", ANN)): 12 for folder in (ROOT, ROOT / "a", ROOT / "b")}
    assert len(set(study_keys(counts, ROOT, warn=print).values())) == 1


def test_folders_without_any_identity_that_are_joined_are_named(caplog):
    counts = {(ROOT / name, FileIdentity("", "", axis="x")): 12 for name in "ab"}
    assert len(set(study_keys(counts, ROOT, warn=logging.getLogger().warning).values())) == 1
    assert "2 folders are read as one study" in caplog.text
