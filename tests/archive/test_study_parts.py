"""Rows of the first pass → studies, without a cluster."""

from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.robustness.dicom_files import write_stack
from lumbar_kernel.archive import study_parts
from lumbar_kernel.archive.header_chunks import read_chunk
from lumbar_kernel.archive.ids import AS_THEY_ARE, Ids, IdSet, hash64
from lumbar_kernel.archive.index_schema import SERIES
from lumbar_kernel.archive.sources import Listing, open_source
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.archive.study_parts import renamed, studies_of, study_part
from lumbar_kernel.errors import DicomError
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1
from lumbar_kernel.study import SeriesFiles, StudyFiles

LATERAL = [(float(x), 0.0, 0.0) for x in (-8, -4, 0, 4, 8)]


def write_series(folder, number, **tags):
    own = {"StudyInstanceUID": "1.1", "SeriesInstanceUID": f"1.1.{number}", "PatientID": "p"}
    return write_stack(folder, LATERAL, **{"SeriesDescription": "t1_tse_sag", **own, **tags})


def part_of(folder, *listings, ids=AS_THEY_ARE, roles=None):
    """The rows of the studies of some listings, of all folders where there are none."""
    root = Folder.of(folder)
    listings = listings or tuple(open_source(str(folder), split="test").listings())
    rows = read_chunk(root, listings, b"k" * 32)[0].to_pylist()
    options = {"ids": ids, "shared": IdSet.of([]), "roles": roles or {}}
    part, again = study_part(root, rows, **options), study_part(root, rows[::-1], **options)
    assert part.table == again.table  # whatever the order of the chunks
    return part.table.to_pylist(), dict(part.skipped)


def test_what_is_said_of_a_series_is_not_said_of_one_whose_name_its_own_begins_with(tmp_path):
    write_series(tmp_path / "s" / "T1", 1, DiffusionBValue=800.0)
    write_series(tmp_path / "s" / "T1 b", 2)
    rows = {row["series_id"]: row for row in part_of(tmp_path)[0]}
    assert (rows["T1"]["role"], rows["T1"]["refused"], rows["T1"]["slices"]) == (None, "diffusion", 5)
    assert (rows["T1 b"]["role"], rows["T1 b"]["refused"], rows["T1 b"]["slices"]) == (SAGITTAL_T1, None, 5)


def test_what_is_said_of_the_contrasts_of_a_series_is_put_together(tmp_path):
    for echo in (10.0, 80.0):
        for path in write_series(tmp_path / "new", 1, EchoTime=echo, SeriesDescription="sag"):
            (tmp_path / "s" / "sag").mkdir(parents=True, exist_ok=True)
            path.rename(tmp_path / "s" / "sag" / f"{echo:.0f}-{path.name}")
    write_series(tmp_path / "s" / "other", 2)
    (row,) = [row for row in part_of(tmp_path)[0] if row["files"] == 10]
    assert row["slices"] == 10
    assert row["bytes"] == sum(path.stat().st_size for path in (tmp_path / "s" / "sag").iterdir())


def test_a_series_whose_pixels_decide_is_not_refused(tmp_path):
    write_series(tmp_path / "s" / "a", 1, SeriesDescription="sag")
    write_series(tmp_path / "s" / "b", 2, DiffusionBValue=800.0)
    rows = {row["series_id"]: row for row in part_of(tmp_path)[0]}
    assert [(rows[name]["role"], rows[name]["refused"]) for name in "ab"] == [(None, None), (None, "diffusion")]


@pytest.mark.parametrize("top", ["", "file://"], ids=["path", "url"])
def test_a_series_of_which_no_file_is_read_says_what_was_wrong_with_its_files(tmp_path, top):
    write_series(tmp_path / "s" / "a", 1, Modality="CT")
    write_series(tmp_path / "s" / "b", 2)
    (tmp_path / "s" / "b" / "broken.dcm").write_text("no image")
    rows = {row["series_id"]: row for row in part_of(f"{top}{tmp_path}")[0]}
    assert [(row["refused"], row["slices"]) for _, row in sorted(rows.items())] == [("not MR", 0), (None, 5)]
    assert {tuple(row["study_problems"]) for row in rows.values()} == {("not MR", "not a DICOM file")}


def test_a_study_that_only_a_table_names_has_one_row_without_a_series(tmp_path):
    (row,), _ = part_of(tmp_path, Listing("", (), study="7"))
    assert {name: value for name, value in row.items() if value not in (None, "")} == {
        **dict.fromkeys(("study_number", "slices", "files", "bytes"), 0),
        "study_id": "7",
        "study_problems": row["study_problems"],
        "paths": [],
    }


def test_studies_series_and_files_come_in_natural_order_and_each_file_once(tmp_path):
    for study in ("2", "10"):
        write_series(tmp_path / "x", 1)
        for name in ("s2", "s10"):
            (tmp_path / study / name).mkdir(parents=True)
            for path in sorted((tmp_path / "x").iterdir())[:2]:
                for number in (2, 10):
                    (tmp_path / study / name / f"{number}.dcm").write_bytes(path.read_bytes())
    names = ("10.dcm", "2.dcm", "2.dcm")
    listings = [Listing(f"{study}/{name}", names, study, name) for study in ("10", "2") for name in ("s10", "s2")]
    rows, _ = part_of(tmp_path, *listings)
    assert [(row["study_number"], row["study_id"], row["series_id"]) for row in rows] == [
        (0, "2", "s2"), (0, "2", "s10"), (1, "10", "s2"), (1, "10", "s10"),
    ]  # fmt: skip
    assert rows[0]["paths"] == ["2/s2/2.dcm", "2/s2/10.dcm"]


def test_the_role_of_a_row_counts_before_that_of_the_competitions_table(tmp_path):
    for name in "abc":
        write_series(tmp_path / "s" / name, ord(name))
    names = tuple(path.name for path in sorted((tmp_path / "s" / "a").iterdir()))
    series = {"1": ("a", SAGITTAL_T1), "2": ("b", None), "3": ("c", None)}
    listings = [Listing(f"s/{name}", names, "7", number, role) for number, (name, role) in series.items()]
    rows, _ = part_of(tmp_path, *listings, roles={"7": {"1": AXIAL_T2, "2": AXIAL_T2}})
    assert [row["given_role"] for row in rows] == [SAGITTAL_T1, AXIAL_T2, None]


def test_a_study_whose_headers_cannot_be_read_is_in_the_index_with_the_reason(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise DicomError("DOE")

    write_series(tmp_path / "s" / "a", 1)
    monkeypatch.setattr(study_parts, "inspect_study", fails)
    (row,), _ = part_of(tmp_path)
    assert (row["study_problems"], row["refused"]) == (["header cannot be read"], "header cannot be read")
    assert (row["files"], row["slices"], row["role"]) == (5, 0, None)


def test_of_files_behind_a_url_only_the_headers_are_fetched(tmp_path, monkeypatch):
    for path in write_series(tmp_path / "s" / "a", 1):
        path.write_bytes(path.read_bytes().ljust(300_000, b"\0"))
    sizes, inspect_study = [], study_parts.inspect_study

    def inspected(study, **options):
        sizes.extend(path.stat().st_size for item in study.series for path in item.paths)
        return inspect_study(study, **options)

    monkeypatch.setattr(study_parts, "inspect_study", inspected)
    (row,), _ = part_of(f"file://{tmp_path}")
    assert sizes == [1 << 18] * len(sizes)
    assert len(sizes) >= 5
    assert (row["slices"], row["bytes"]) == (5, 5 * 300_000)


def test_with_a_key_every_id_is_hashed_and_paths_lead_to_the_files_still(tmp_path):
    ids = Ids(b"k" * 16)
    write_series(tmp_path / "d" / "s" / "a", 1)
    write_series(tmp_path / "d" / "s" / "b", 2)
    plain, hashed = part_of(tmp_path / "d")[0], part_of(tmp_path / "d", ids=ids)[0]
    for own, other in zip(plain, hashed, strict=True):
        for name in SERIES.names:
            is_id = name in ("study_id", "study_uid", "series_id")
            assert other[name] == (ids.published(own[name]) if is_id else own[name])
    assert plain[0]["study_uid"] == "1.1"


def test_files_that_belong_to_no_study_are_counted(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "1.dcm").write_text("no image")
    assert part_of(tmp_path) == ([], {"no readable DICOM file": 1})


def test_rows_of_the_index_become_studies_again():
    row = {"study_id": "7", "study_number": 4, "study_uid": None, "given_role": None}
    rows = [
        {**row, "series_id": "b", "given_role": AXIAL_T2, "paths": ["b/1", "\0\xfc/2"]},
        {**row, "series_id": "a", "paths": ["a/1"]},
        {**row, "study_id": "8", "study_number": 5, "study_uid": "1.8", "series_id": None, "paths": []},
        {**row, "study_id": "8", "study_number": 6, "series_id": "c", "paths": []},
    ]
    both = (Path("b/1"), Path("\udcfc/2"))
    assert list(studies_of(rows)) == [
        StudyFiles("7", (SeriesFiles("b", AXIAL_T2, both), SeriesFiles("a", None, (Path("a/1"),)))),
        StudyFiles("8", (), study_uid="1.8"),
        StudyFiles("8", (SeriesFiles("c", None, ()),)),
    ]


def test_ids_that_repeat_become_uids_or_get_a_mark_of_their_first_file():
    row = dict.fromkeys(SERIES.names)
    rows = [
        {**row, "study_id": "7", "study_uid": "1.7", "study_number": 0, "paths": ["a/1"]},
        {**row, "study_id": "7", "study_uid": "", "study_number": 1, "paths": ["b/1", "b/2"]},
        {**row, "study_id": "7", "study_uid": "", "study_number": 1, "paths": ["c/1"]},
        {**row, "study_id": "7", "study_uid": "", "study_number": 2, "paths": ["d/1"]},
        {**row, "study_id": "8", "study_uid": "1.8", "study_number": 3, "paths": ["e/1"]},
    ]
    table, repeated = pa.Table.from_pylist(rows, schema=SERIES), {hash64("7")}.__contains__
    again = renamed(table, repeated)
    first, second, third, fourth, fifth = again["study_id"].to_pylist()
    assert (first, second, fifth) == ("1.7", third, "8")
    assert len({first, second, fourth}) == 3
    assert again.drop_columns("study_id") == table.drop_columns("study_id")
    rows[1]["paths"], rows[2]["paths"] = ["b/1"], ["c/0"]  # the other files may come and go
    assert renamed(pa.Table.from_pylist(rows, schema=SERIES), repeated)["study_id"] == again["study_id"]
