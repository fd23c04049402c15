"""The rows of the first pass, without a cluster."""

import pytest

from benchmarks.robustness.dicom_files import write_slice
from lumbar_kernel.archive.header_chunks import (
    SEVERAL,
    chunk_name,
    chunks,
    hash32,
    read_chunk,
    restored_text,
    stored_text,
)
from lumbar_kernel.archive.ids import hash64
from lumbar_kernel.archive.sources import Listing
from lumbar_kernel.archive.storage import Folder

SECRET = b"k" * 32


def listing(folder, count, **more):
    return Listing(folder, tuple(f"{number}.dcm" for number in range(count)), **more)


def read(folder, *listings, secret=SECRET):
    """The rows of some folders by the first of their files, and the owner of each folder."""
    rows, owners = read_chunk(Folder.of(folder), listings, secret)
    by_file = {f"{row['folder']}/{row['names'][0]}": row for row in rows.to_pylist() if row["names"]}
    return by_file, dict(zip(owners["folder"].to_pylist(), owners["owner"].to_pylist(), strict=True))


def test_folders_are_put_together_and_divided_into_chunks_of_about_so_many_files():
    listings = [listing("a", 2), listing("b", 7), Listing("", (), study="7"), listing("c", 1)]
    found = list(chunks(iter(listings), files=4))
    assert [[(item.folder, len(item.names)) for item in chunk] for chunk in found] == [
        [("a", 2), ("b", 4)],
        [("b", 3)],
        [("", 0), ("c", 1)],
    ]
    names = [name for chunk in found for item in chunk for name in item.names]
    assert names == [name for item in listings for name in item.names]


def test_studies_that_only_a_table_names_fill_a_chunk_too():
    found = list(chunks(iter([Listing("", (), study=str(number)) for number in range(9)]), files=4))
    assert [len(chunk) for chunk in found] == [4, 4, 1]


@pytest.mark.parametrize(
    "changed",
    [{"folder": "b"}, {"names": ("0.dcm",)}, {"study": "7"}, {"series": "7"}, {"role": "Axial T2"}],
)
def test_the_name_of_a_chunk_follows_from_all_that_a_listing_says(changed):
    values = {"folder": "a", "names": ("0.dcm", "d\udcfcse.dcm")}
    assert chunk_name([Listing(**values)]) == chunk_name([Listing(**values)])
    assert chunk_name([Listing(**values)]) != chunk_name([Listing(**{**values, **changed})])


@pytest.mark.parametrize("text", ["plain", "dü", "d\udcfcse", "\udcff"])
def test_names_that_are_no_text_are_stored_as_text_and_come_back(text):
    stored_text(text).encode()
    assert restored_text(stored_text(text)) == text


@pytest.mark.parametrize("series", ["", "7"])
def test_files_are_dicom_by_name_or_content(tmp_path, series):
    for name in ("1.dcm", "2"):
        write_slice(tmp_path / "a" / name)
    for name in ("3.DCM", "4.txt"):
        (tmp_path / "a" / name).write_text("no image")
    names = ("1.dcm", "2", "3.DCM", "4.txt", "gone.dcm", "gone")
    table, _ = read_chunk(Folder.of(tmp_path), [Listing("a", names, study=series, series=series)], SECRET)
    rows = table.to_pylist()
    sizes = {name: size for row in rows for name, size in zip(row["names"], row["sizes"], strict=True)}
    assert sizes == {
        **{name: (tmp_path / "a" / name).stat().st_size for name in ("1.dcm", "2", "3.DCM")},
        "gone.dcm": 0,
    }
    readable = {name for row in rows if row["readable"] for name in row["names"]}
    assert readable == (set() if series else {"1.dcm", "2"})  # the layout says enough, headers are not read


def test_what_belongs_to_patients_is_hidden_part_by_part_and_still_compared(tmp_path):
    tags = {"PatientID": "Secretpid", "PatientBirthDate": "19610203", "FrameOfReferenceUID": "1.2.999"}
    for name, changed in {"a": {}, "b": {}, "c": {"PatientID": "Secretother"}}.items():
        write_slice(tmp_path / name / "0.dcm", **tags | changed)
    write_slice(tmp_path / "d" / "0.dcm")
    listings = [listing(name, 1) for name in "abcd"]
    rows, _ = read(tmp_path, *listings)
    one, same, other, none = (rows[f"{name}/0.dcm"] for name in "abcd")
    assert not [secret for secret in tags.values() if secret in repr(rows)]
    assert one["patient"] == same["patient"]
    assert [own == theirs for own, theirs in zip(one["patient"], other["patient"], strict=True)] == [False, True, True]
    assert one["patient"][2] == ""  # the sex, which is absent
    assert (none["patient"], none["frame_of_reference"]) == ([], "")
    elsewhere = read(tmp_path, *listings, secret=b"l" * 32)[0]["a/0.dcm"]
    hidden = [{*row["patient"][:2], row["frame_of_reference"]} for row in (one, elsewhere)]
    assert hidden[0].isdisjoint(hidden[1])


def test_rows_of_one_study_share_a_key_and_lie_together(tmp_path):
    uids = {"x/a/0": "1.1", "x/a/1": "1.1", "y/b/0": "1.1", "y/b/1": "1.1", "z/c/0": "1.2", "z/d/0": "1.3"}
    for name, uid in uids.items():
        tags = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.{ord(name[2])}"}
        write_slice(tmp_path / f"{name}.dcm", PatientID="p", **tags)
    for name in ("x/broken/0", "z/c/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.dcm").write_text("no image")
    listings = [listing("z/c", 2), listing("z/d", 1), listing("x/a", 2), listing("x/broken", 1), listing("y/b", 2)]
    rows, _ = read(tmp_path, *listings)
    keys = {name: row["key"] for name, row in rows.items()}
    assert keys["x/a/0.dcm"] == keys["y/b/0.dcm"] == keys["x/broken/0.dcm"] == hash32("uid 1.1")
    assert keys["z/c/0.dcm"] == keys["z/c/1.dcm"] == hash32("uid 1.2")
    table, _ = read_chunk(Folder.of(tmp_path), listings, SECRET)
    assert table["key"].to_pylist() == sorted(table["key"].to_pylist())


def test_files_without_a_usable_uid_belong_to_the_folder_above(tmp_path):
    for number in range(3):
        write_slice(tmp_path / "m" / "a" / f"{number}.dcm", StudyInstanceUID=None, PatientID="p")
        write_slice(tmp_path / "n" / "a" / f"{number}.dcm", StudyInstanceUID=f"1.{number}", PatientID="p")
    (tmp_path / "o" / "a").mkdir(parents=True)
    (tmp_path / "o" / "a" / "0.dcm").write_text("no image")
    rows, _ = read(tmp_path, listing("m/a", 3), listing("n/a", 3), listing("o/a", 1))
    assert {name: row["key"] for name, row in rows.items() if name[0] in "mo"} == {
        f"{name}/a/0.dcm": hash32(f"folder {name}") for name in "mo"
    }
    assert {row["key"] for name, row in rows.items() if name[0] == "n"} == {hash32("folder n")}


def test_an_unreadable_folder_beside_two_studies_is_of_neither(tmp_path):
    for name in "ab":
        for number in range(2):
            write_slice(tmp_path / "x" / name / f"{number}.dcm", StudyInstanceUID=f"1.{ord(name)}", PatientID="p")
    (tmp_path / "x" / "c").mkdir()
    (tmp_path / "x" / "c" / "0.dcm").write_text("no image")
    rows, _ = read(tmp_path, *(listing(f"x/{name}", 2 if name != "c" else 1) for name in "abc"))
    assert rows["x/c/0.dcm"]["key"] == hash32("folder x")


def test_ids_of_a_table_bring_folders_together(tmp_path):
    for name in "ab":
        write_slice(tmp_path / name / "0.dcm", StudyInstanceUID=f"1.{ord(name)}")
    rows, owners = read(tmp_path, listing("a", 1, study="7"), listing("b", 1, study="7"), Listing("", (), study="8"))
    assert {row["key"] for row in rows.values()} == {hash32("study 7")}
    assert owners == {}  # no folder is shared by studies that paths name


def test_every_folder_above_has_one_owner_or_several(tmp_path):
    for name, uid in {"x/a": "1.1", "x/b": "1.1", "y/c": "1.2"}.items():
        for number in range(2):
            write_slice(tmp_path / name / f"{number}.dcm", StudyInstanceUID=uid, PatientID="p")
    (tmp_path / "y" / "broken").mkdir()
    (tmp_path / "y" / "broken" / "0.dcm").write_text("no image")  # nobody knows whose
    _, owners = read(tmp_path, listing("x/a", 2), listing("x/b", 2), listing("y/c", 2), listing("y/broken", 1))
    one, two = hash64("uid 1.1"), hash64("uid 1.2")
    expected = {"x/a": one, "x/b": one, "x": one, "y/c": two, "y": two, "": SEVERAL}
    assert owners == {hash64(folder): owner for folder, owner in expected.items()}
