from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumbar_kernel.dicom.grouping import group_by_header, series_of
from lumbar_kernel.dicom.identity import FileIdentity

ROOT = Path("/data")


def archive(*files):
    """Found files from (path below the root, identity)."""
    found = defaultdict(lambda: defaultdict(list))
    for path, identity in files:
        place = ROOT / path
        found[place.parent][identity].append(place.name)
    return found


def stack(folder, study, series, *, patient=(), count=3):
    return [(f"{folder}/{series}-{k}.dcm", FileIdentity(study, series, patient)) for k in range(count)]


def ids(files):
    return {
        key: {name: sum(map(len, item.values())) for name, item in group.series.items()}
        for key, group in group_by_header(archive(*files), ROOT).items()
    }


def partition(files):
    """What lies together, as study → series → numbers of files; names of studies, series and files are left out."""
    numbers = {ROOT / path: number for path, number, _ in files}
    groups = group_by_header(archive(*((path, identity) for path, _, identity in files)), ROOT)
    return {
        frozenset(
            frozenset(numbers[folder / name] for folder, names in series.items() for name in names)
            for series in group.series.values()
        )
        for group in groups.values()
    }


IDENTITIES = st.lists(
    st.builds(
        FileIdentity,
        study_uid=st.sampled_from(["1.1", "1.2", "1.3"]),
        series_uid=st.sampled_from(["5", "6", "7"]),
        patient=st.sampled_from([(), ("ann", "", ""), ("bob", "1960", "F"), ("bob", "", "")]),
    ),
    min_size=1,
    max_size=6,
    unique=True,
)
FOLDERS = st.lists(st.sampled_from(["a", "b", "ST0", "x/y", "x", ".", "10/2"]), min_size=1, max_size=4)


@settings(max_examples=200)
@given(identities=IDENTITIES, folders=FOLDERS, others=FOLDERS, order=st.randoms(use_true_random=False))
def test_names_order_and_nesting_of_folders_do_not_change_what_belongs_together(identities, folders, others, order):
    files = [(number, identity) for number, identity in enumerate(identities * 3)]
    first = [(f"{folders[k % len(folders)]}/{k}", k, identity) for k, identity in files]
    second = [(f"{others[k % len(others)]}/file{k}", k, identity) for k, identity in files]
    order.shuffle(second)
    assert partition(first) == partition(second)


def test_folders_name_studies_and_series_where_they_are_plain_and_their_own():
    files = stack("anna/t1", "1.1", "8") + stack("anna/t2", "1.1", "9") + stack("b-2", "1.2", "7")
    assert ids(files) == {"anna": {"t1": 3, "t2": 3}, "b-2": {"7": 3}}


def test_series_side_by_side_are_studies_by_their_folders_where_the_one_above_holds_several():
    assert ids(stack("x/a", "1.1", "8") + stack("x/b", "1.2", "9")) == {"a": {"8": 3}, "b": {"9": 3}}


def test_series_in_folders_of_one_name_are_named_by_their_uids():
    assert ids(stack("7/a/s", "1.1", "8") + stack("7/b/s", "1.1", "9")) == {"7": {"8": 3, "9": 3}}


def test_the_folder_of_a_study_that_a_table_names_names_no_series():
    for folder, name in (("7/s", "s"), ("7", "8")):
        assert list(series_of("7", archive(*stack(folder, "1.1", "8")))) == [name]


@pytest.mark.parametrize("name", ["ST0", "SE000001", "DICOM", "Müller, Anna", "a b", "-x", "a" * 65, "IMG_01"])
def test_names_that_are_not_plain_give_way_to_the_uid(name):
    assert set(ids(stack(f"{name}/t1", "1.1", "8") + stack(f"{name}/t2", "1.1", "9"))) == {"1.1"}


def test_no_bearer_of_a_shared_name_gets_it():
    both = stack("p/scan/1", "1.1", "8") + stack("p/scan/2", "1.1", "9") + stack("q/Scan/1", "1.2", "7", count=4)
    both += stack("q/Scan/3", "1.2", "6")
    assert set(ids(both)) == {"1.1", "1.2"}


@pytest.mark.parametrize("neighbours", [0, 1, 3])
def test_the_id_of_a_study_does_not_depend_on_its_neighbours(neighbours):
    media = stack("PAT0/ST0/SE0", "1.1", "8") + stack("PAT0/ST0/SE1", "1.1", "9")
    flat = stack("anna", "2.1", "3")
    for k in range(1, neighbours + 1):
        media += stack(f"PAT{k}/ST0/SE0", f"1.{k + 1}", f"8{k}")
        flat += stack(f"bert{k}", f"2.{k + 1}", f"3{k}")
    assert "1.1" in ids(media)
    assert "anna" in ids(flat)
    assert not any("/" in name for name in ids(media + flat))


def test_a_uid_that_could_be_a_path_becomes_a_plain_name():
    files = [(f"{k}.dcm", FileIdentity("../../etc/x y", "1/2")) for k in range(2)]
    ((study_id, series),) = ids(files).items()
    assert study_id == ".._.._etc_x_y"
    assert "/" not in "".join(series)


def test_studies_without_uid_are_named_after_their_place():
    files = (
        stack("ST0/1", "", "8")
        + stack("ST0/2", "", "9")
        + stack("ST1/DICOM/1", "", "7")
        + stack("ST1/DICOM/2", "", "6")
    )
    assert set(ids(files)) == {"ST0", "ST1-DICOM"}


def test_patients_who_share_a_uid_are_numbered_alike_in_any_order():
    counts = {"b": 2, "a": 3}
    files = [(f"{name}{k}", FileIdentity("1.1", "5", (name,))) for name in counts for k in range(counts[name])]
    assert ids(files) == ids(list(reversed(files)))
    assert ids(files) == {"1.1.patient1": {"data": 3}, "1.1.patient2": {"data": 2}}


def test_series_uids_made_for_each_file_are_one_series():
    files = [(f"s/{k}.dcm", FileIdentity("1.1", f"5.{k}", ("ann",))) for k in range(4)]
    assert ids(files) == {"s": {"s": 4}}


def test_study_and_series_uids_made_for_each_file_of_a_patient_are_one_study():
    files = [(f"7/{s}/{k}.dcm", FileIdentity(f"1.{s}{k}", f"5.{s}{k}", ("ann",))) for s in "ab" for k in range(4)]
    assert ids(files) == {"7": {"a": 4, "b": 4}}


def test_several_enhanced_files_in_a_folder_are_series_of_their_own():
    files = [(f"7/{k}.dcm", FileIdentity("1.1", f"5.{k}", multi_frame=True)) for k in range(4)]
    assert ids(files) == {"7": {f"5.{k}": 1 for k in range(4)}}


def test_copies_in_another_folder_join_their_series():
    whole = stack("7/1", "1.1", "8") + stack("7/2", "1.1", "9")
    copy = [(f"7/copy/{path.rpartition('/')[2]}", identity) for path, identity in whole[:2]]
    assert ids(whole + copy) == {"7": {"8": 5, "2": 3}}


def test_a_folder_of_broken_files_joins_the_study_beside_it_or_is_named(caplog):
    files = stack("7/1", "1.1", "8") + stack("7/2", "1.1", "9") + [("7/3/x.dcm", None)]
    assert ids(files)["7"] == {"1": 3, "2": 3, "3": 1}
    assert set(ids([*files, ("9/3/x.dcm", None)])) == {"7"}
    assert "9/3/x.dcm is no readable DICOM file and belongs to no study" in caplog.text
    of_two = [*stack("x/1", "1.1", "8"), *stack("x/2", "1.2", "9"), ("x/3/x.dcm", None)]
    assert sum(sum(series.values()) for series in ids(of_two).values()) == 6
    assert "x/3/x.dcm is no readable DICOM file and belongs to no study" in caplog.text


def test_grouping_takes_time_in_proportion_to_the_studies():
    def seconds(studies):
        files = archive(
            *(
                (f"PA{p}/ST0/SE{s}/{k}", FileIdentity(f"1.{p}", f"2.{p}.{s}"))
                for p in range(studies)
                for s in range(4)
                for k in "ab"
            )
        )
        began = time.process_time()
        assert len(group_by_header(files, ROOT)) == studies
        return time.process_time() - began

    small, large = (min(seconds(studies) for _ in range(3)) for studies in (100, 1000))
    assert large < 30 * small  # the square would be a hundred times
