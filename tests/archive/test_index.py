import shutil
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest

from benchmarks.robustness.dicom_files import AXIAL, write_stack
from lumbar_kernel.archive import index as index_module
from lumbar_kernel.archive.header_chunks import OWNERS, ROWS, SEVERAL, chunk_name, chunks
from lumbar_kernel.archive.ids import Ids, hash64
from lumbar_kernel.archive.index import Index, IndexOptions, build_index, finished_index
from lumbar_kernel.archive.index_schema import SERIES, VERSION
from lumbar_kernel.archive.sources import Listing, open_source
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.archive.study_parts import Part, renamed, studies_of
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.errors import ConfigError

LATERAL = [(float(x), 0.0, 0.0) for x in (-8, -4, 0, 4, 8)]
UPWARD = [(0.0, 0.0, float(z)) for z in (0, 4, 8, 12)]


def write_study(folder, uid, *, patient="p", series=("sag", "ax")):
    for number, name in enumerate(series):
        tags = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.{number}", "PatientID": patient}
        if name.startswith("ax"):
            write_stack(folder / name, UPWARD, orientation=AXIAL, SeriesDescription="t2_tse_tra", **tags)
        else:
            write_stack(folder / name, LATERAL, SeriesDescription="t1_tse_sag", **tags)


@pytest.fixture
def tree(tmp_path):
    """Studies as archives hold them: named folders, media, two patients with one UID, a flat folder, no UIDs, junk."""
    data = tmp_path / "data"
    write_study(data / "2019" / "anna17", "1.1")
    write_study(data / "2020" / "anna17", "1.2")  # the same name again
    write_study(data / "2020" / "berta", "1.3")
    write_study(data / "PAT0" / "ST0", "1.4")
    write_study(data / "x" / "one", "1.5", patient="a")
    write_study(data / "x" / "two", "1.5", patient="b")
    for uid in ("1.6", "1.7"):
        for path in write_stack(data / "wait", LATERAL, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1"):
            path.rename(data / "wait" / f"{uid}-{path.name}")
    write_study(data / "halves" / "left", "1.8", series=("sag",))
    write_study(data / "other" / "right", "1.8", series=("ax",))
    (data / "2020" / "berta" / "sag" / "9.dcm").write_text("no image")
    (data / "2020" / "readme.txt").write_text("no image")
    return data


def built(data, out, *, rescan=False, **options):
    """The index of an archive, and its studies with absolute paths."""
    index = build_index(Folder.of(out), IndexOptions(str(data), **options), rescan=rescan)
    rows = [row for path in sorted((out / "studies").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    found = {}
    for path in sorted((out / "studies").glob("*.parquet")):
        for study in studies_of(pq.read_table(path).to_pylist()):
            found[study.study_id] = {
                item.series_id: {Path(index.root.text) / name for name in item.paths} for item in study.series
            }
    assert len(found) == index.studies
    return index, rows, found


def interrupt(monkeypatch, at, data, out, **options):
    """Build an index as far as a function of its module; returns the times of the files that it has written by then."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(index_module, at, stop)
        with pytest.raises(KeyboardInterrupt):
            built(data, out, **options)
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}


def found_by_predict(data):
    return {study.study_id: {item.series_id: set(item.paths) for item in study.series} for study in find_studies(data)}


@pytest.mark.parametrize("files", [3, 20_000])
def test_studies_are_those_of_a_run_on_one_machine_whatever_the_chunks(tree, tmp_path, ray_here, monkeypatch, files):
    monkeypatch.setattr(index_module, "FILES_A_PART", files)
    _, rows, found = built(tree, tmp_path / "index")
    assert found == found_by_predict(tree)
    assert {row["role"] for row in rows} == {"Sagittal T1", "Axial T2", None}


def test_rows_say_what_a_series_has_and_why_it_is_refused(tree, tmp_path, ray_here):
    write_study(tree / "late", "1.9")
    write_stack(
        tree / "late" / "dwi", LATERAL, StudyInstanceUID="1.9", SeriesInstanceUID="1.9.5", PatientID="p",
        DiffusionBValue=800.0,
    )  # fmt: skip
    index, rows, _ = built(tree, tmp_path / "index")
    late = {row["series_id"]: row for row in rows if row["study_id"] == "late"}
    assert late["dwi"]["refused"] == "diffusion"
    assert late["sag"]["refused"] is None
    assert (late["sag"]["slices"], late["sag"]["rows"], late["sag"]["columns"]) == (5, 6, 8)
    files = list((tree / "late" / "sag").iterdir())
    assert late["sag"]["bytes"] == sum(path.stat().st_size for path in files)
    assert index.files == sum(row["files"] for row in rows)
    (berta,) = {tuple(row["study_problems"]) for row in rows if row["study_id"] == "berta"}
    assert berta == ("not a DICOM file",)


def test_an_index_is_resumed_where_it_stopped(tree, tmp_path, ray_here, monkeypatch):
    monkeypatch.setattr(index_module, "FILES_A_PART", 5)
    out = tmp_path / "index"
    kept = interrupt(monkeypatch, "_rename_repeated", tree, out)
    parts = sorted((out / "studies").iterdir())
    parts[0].unlink()  # as if it had not been written yet
    assert finished_index(Folder.of(out)) is None
    _, _, found = built(tree, out)
    assert found == found_by_predict(tree)
    assert len(parts) > 3
    for path in parts[1:]:
        assert path.stat().st_mtime_ns == kept[path] or "anna17" in repr(pq.read_table(path).to_pylist()), path


def test_ids_that_two_parts_share_are_replaced_in_both_after_an_interruption_between_them(
    tree, tmp_path, ray_here, monkeypatch
):
    monkeypatch.setattr(index_module, "FILES_A_PART", 3)
    times, out = [], tmp_path / "index"

    def stop_at_the_second(table, repeated):
        times.append(1)
        if len(times) == 2:
            raise KeyboardInterrupt
        return renamed(table, repeated)

    with monkeypatch.context() as patch:
        patch.setattr(index_module, "renamed", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            built(tree, out)
    _, _, found = built(tree, out)
    assert found == found_by_predict(tree)


def test_a_finished_index_is_used_again_until_a_rescan(tree, tmp_path, ray_here):
    first, _, _ = built(tree, tmp_path / "index")
    write_study(tree / "new", "1.10")
    again, _, _ = built(tree, tmp_path / "index")
    assert again == first
    assert Folder.of(tmp_path / "index").names() == ["index.json", "studies"]  # and no key of hashes
    rescanned = build_index(Folder.of(tmp_path / "index"), IndexOptions(str(tree)), rescan=True)
    assert rescanned.studies == first.studies + 1


def test_an_index_that_was_begun_with_plain_ids_leaves_none(tree, tmp_path, ray_here, monkeypatch):
    out, ids = tmp_path / "index", Ids(b"k" * 16)
    interrupt(monkeypatch, "_rename_repeated", tree, out)
    _, _, found = built(tree, out, ids=ids)
    _, _, expected = built(tree, tmp_path / "other", ids=ids)
    assert found == expected


@pytest.mark.parametrize("at", ["_count", "_rename_repeated"])
def test_an_index_that_was_begun_of_other_data_leaves_nothing(tree, tmp_path, ray_here, monkeypatch, at):
    out, other = tmp_path / "index", tmp_path / "data2"
    shutil.copytree(tree, other)
    write_study(other / "PAT0" / "ST0", "2.4")  # the same names, another study
    interrupt(monkeypatch, at, tree, out)
    _, rows, found = built(other, out)
    assert found == found_by_predict(other)
    uids = {row["study_uid"] for row in rows}
    assert "2.4" in uids
    assert "1.4" not in uids


def test_a_rescan_goes_on_where_it_stopped(tree, tmp_path, ray_here, monkeypatch):
    out = tmp_path / "index"
    first, _, _ = built(tree, out)
    write_study(tree / "new", "1.10")
    kept = interrupt(monkeypatch, "_rename_repeated", tree, out, rescan=True)
    monkeypatch.setattr(index_module, "_rename_repeated", lambda _: len(found_by_predict(tree)))  # writes files again
    again = build_index(Folder.of(out), IndexOptions(str(tree)), rescan=True)
    assert again.studies == first.studies + 1
    parts = list((out / "studies").iterdir())
    assert [path.stat().st_mtime_ns for path in parts] == [kept[path] for path in parts]


@pytest.mark.parametrize("finished", [True, False])
def test_a_rescan_does_not_go_on_with_an_index_from_before_it(tree, tmp_path, ray_here, monkeypatch, finished):
    out = tmp_path / "index"
    if finished:
        built(tree, out)
    else:
        interrupt(monkeypatch, "_rename_repeated", tree, out)
    shutil.rmtree(tree / "PAT0")
    write_study(tree / "PAT0" / "ST0", "1.40")  # the same names, another study
    _, rows, found = built(tree, out, rescan=True)
    assert found == found_by_predict(tree)
    assert "1.40" in {row["study_uid"] for row in rows}


def test_an_archive_that_cannot_be_listed_leaves_the_index_of_before(tree, tmp_path, ray_here):
    first, _, _ = built(tree, tmp_path / "index")
    with pytest.raises(ConfigError):
        built(tmp_path / "absent", tmp_path / "index", rescan=True)
    assert finished_index(Folder.of(tmp_path / "index"), IndexOptions(str(tree))) == first


@pytest.mark.parametrize("what", ["nothing", "no DICOM"])
def test_a_rescan_that_finds_nothing_to_index_leaves_the_index_of_before(tree, tmp_path, ray_here, what):
    first, _, _ = built(tree, tmp_path / "index")
    moved = tree.rename(tmp_path / "elsewhere")
    tree.mkdir()  # as the empty place of a share that is not mounted
    if what == "no DICOM":
        (tree / "note.txt").write_text("no image")
    with pytest.raises(ConfigError, match="no study found"):
        built(tree, tmp_path / "index", rescan=True)
    assert finished_index(Folder.of(tmp_path / "index"), IndexOptions(str(tree))) == first
    assert Folder.of(tmp_path / "index").names() == ["index.json", "studies"]
    (tree / "note.txt").unlink(missing_ok=True)
    tree.rmdir()
    moved.rename(tree)
    assert built(tree, tmp_path / "index", rescan=True)[0] == first


def test_a_rescan_leaves_the_index_of_before_until_all_files_are_identified_and_goes_on(
    tree, tmp_path, ray_here, monkeypatch
):
    out = tmp_path / "index"
    first, _, _ = built(tree, out)
    write_study(tree / "new", "1.10")
    interrupt(monkeypatch, "_write_shared", tree, out, rescan=True)
    assert finished_index(Folder.of(out), IndexOptions(str(tree))) == first
    monkeypatch.setattr(index_module, "_read_chunk", lambda *_: pytest.fail("read again"))
    _, _, found = built(tree, out, rescan=True)
    assert found == found_by_predict(tree)


def test_chunks_without_any_dicom_file_are_passed_over(tree, tmp_path, ray_here, monkeypatch):
    monkeypatch.setattr(index_module, "chunks", partial(chunks, files=1))
    (tree / "notes").mkdir()
    (tree / "notes" / "note.txt").write_text("no image")
    _, _, found = built(tree, tmp_path / "index")
    assert found == found_by_predict(tree)


def test_data_without_studies_are_looked_at_again(tree, tmp_path, ray_here):
    data = tmp_path / "mount"
    data.mkdir()
    (data / "note.txt").write_text("no image")
    with pytest.raises(ConfigError, match="no study found"):
        built(data, tmp_path / "index")
    write_study(data / "one", "1.1")
    index, _, _ = built(data, tmp_path / "index")
    assert index.studies == 1


def test_rows_of_a_table_behind_a_url_that_lead_out_leave_files_alone(tree, tmp_path, ray_here):
    victim = tmp_path / "victim.dcm"
    victim.write_bytes(b"of somebody else")
    rows = ["A,2019/anna17", f"A,{victim}", "A,../victim.dcm", f"B,{victim}"]
    (tree / "list.csv").write_text("\n".join(["study_id,path", *rows]))
    index, _, found = built(f"file://{tree}/list.csv", tmp_path / "index")
    assert {name: len(series) for name, series in found.items()} == {"A": 2, "B": 0}
    assert index.skipped == {"paths that lead out of the archive": 3}
    assert victim.read_bytes() == b"of somebody else"


def test_zips_inside_a_tree_and_a_zip_as_a_whole_are_read_in_place(tree, tmp_path, ray_here):
    write_study(tmp_path / "loose" / "zipped", "1.20")
    with zipfile.ZipFile(tree / "2019" / "zipped.zip", "w") as archive:
        for path in (tmp_path / "loose").rglob("*.dcm"):
            archive.write(path, path.relative_to(tmp_path / "loose"))
    (tree / "2019" / "packed.tar.gz").write_bytes(b"\x1f\x8b")
    index, _, found = built(tree, tmp_path / "index")
    assert "zipped" in found
    assert all("zipped.zip" in str(path) for paths in found["zipped"].values() for path in paths)
    assert index.skipped["compressed tars, which must be unpacked"] == 1
    _, _, alone = built(tree / "2019" / "zipped.zip", tmp_path / "other")
    assert alone == found_by_predict(tree / "2019" / "zipped.zip")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_names_studies_and_paths(tree, tmp_path, ray_here, kind):
    files = sorted((tree / "PAT0" / "ST0" / "sag").iterdir())
    rows = [("A", "2019/anna17"), *(("B", path.relative_to(tree).as_posix()) for path in files), ("A", "2020/berta/ax")]
    table = pa.table({"study_id": [row[0] for row in rows], "path": [row[1] for row in rows]})
    place = tree / f"list.{kind}"
    if kind == "csv":
        place.write_text("study_id,path\n" + "".join(f"{study},{path}\n" for study, path in rows))
    else:
        pq.write_table(table, place)
    _, _, found = built(place, tmp_path / "index")
    assert set(found) == {"A", "B"}
    assert found["B"] == {"1.4.0": set(files)}
    assert sum(map(len, found["A"].values())) == 9 + 4


def test_a_url_is_read_through_its_file_system(tree, tmp_path, ray_here):
    index, rows, found = built(f"file://{tree}", tmp_path / "index")
    expected = found_by_predict(tree)
    assert {name: set(series) for name, series in found.items()} == {name: set(of) for name, of in expected.items()}
    assert index.files == sum(row["files"] for row in rows)


def test_links_are_followed_and_circles_are_not(tree, tmp_path, ray_here):
    outside = tmp_path / "outside"
    write_study(outside / "linked", "1.30")
    (tree / "more").symlink_to(outside)
    (tree / "2019" / "circle").symlink_to(tree)
    _, _, found = built(tree, tmp_path / "index")
    assert "linked" in found


def test_the_competitions_layout_keeps_its_ids_roles_and_empty_studies(dataset, tmp_path, ray_here):
    data = tmp_path / "data"
    shutil.copytree(dataset, data)
    with (data / "test_series_descriptions.csv").open("a") as table:
        table.write("77,5,Axial T2\n")
    _, rows, found = built(data, tmp_path / "index")
    assert found == found_by_predict(data)
    assert found["77"] == {}
    given = {row["series_id"]: row["given_role"] for row in rows if row["series_id"]}
    assert given == {item.series_id: item.role for study in find_studies(data) for item in study.series}


@pytest.mark.parametrize("layout", ["test_images", "."])
@pytest.mark.parametrize("uid", ["44036939.2828203845", "2828203845"])
def test_a_table_gives_roles_to_series_that_only_headers_tell_apart(tmp_path, ray_here, layout, uid):
    data = tmp_path / "data"
    tags = {"StudyInstanceUID": "44036939", "PatientID": "p"}
    for series_uid, positions in ((uid, LATERAL), ("44036939.7", UPWARD)):
        orientation = {"orientation": AXIAL} if positions is UPWARD else {}
        for path in write_stack(data / "new", positions, SeriesInstanceUID=series_uid, **orientation, **tags):
            (data / layout / "44036939").mkdir(parents=True, exist_ok=True)
            path.rename(data / layout / "44036939" / f"{series_uid[-1]}{path.name}")
    (data / "new").rmdir()
    table = "study_id,series_id,series_description\n44036939,2828203845,Sagittal T1\n44036939,8,Axial T2\n"
    (data / "test_series_descriptions.csv").write_text(table)
    _, rows, found = built(data, tmp_path / "index")
    assert found == found_by_predict(data)
    given = {row["series_id"]: row["given_role"] for row in rows if row["series_id"]}
    assert given == {item.series_id: item.role for study in find_studies(data) for item in study.series}
    assert set(given.values()) == {"Sagittal T1", None}


@pytest.mark.parametrize("place", ["test_images/{study}", "test_images/{study}/all/{series}", "{study}"])
@pytest.mark.parametrize("uid", ["of each file", "absent", "of the series"])
def test_series_are_told_apart_as_by_predict(tmp_path, ray_here, place, uid):
    data, number = tmp_path / "data", 0
    for study in ("5", "7"):
        write_study(tmp_path / "plain" / study, f"1.{study}", patient=study)
        for path in sorted((tmp_path / "plain" / study).glob("*/*.dcm")):
            dataset, number = pydicom.dcmread(path), number + 1
            if uid != "of the series":
                dataset.SeriesInstanceUID = f"1.9.{number}" if uid == "of each file" else None
            series = path.parent.name
            target = data / place.format(study=study, series=series) / f"{series}{path.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(target)
    _, _, found = built(data, tmp_path / "index")
    assert found == found_by_predict(data)
    assert {name: sum(map(len, series.values())) for name, series in found.items()} == {"5": 9, "7": 9}


def test_an_index_is_of_the_data_that_it_was_made_of_wherever_it_is_named_from(tree, tmp_path, ray_here, monkeypatch):
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    write_study(tmp_path / "elsewhere" / "data" / "new", "1.10")
    out = Folder.of(tmp_path / "index")
    monkeypatch.chdir(tmp_path)
    first = build_index(out, IndexOptions("data"))
    for same in ("data", "./data", "data/", "../" + tmp_path.name + "/data", str(tree)):
        assert finished_index(out, IndexOptions(same)) == first
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="index of other data"):
        build_index(out, IndexOptions("data"))
    assert IndexOptions("s3://bucket/data").about()["data"] == "s3://bucket/data"


def test_an_index_of_something_else_is_refused_with_what_differs(tmp_path):
    options = IndexOptions("s3://bucket/data", "train", Ids(b"k" * 16))
    about = {**options.about(), "studies": 1, "files": 2, "bytes": 3, "root": "s3://bucket/data", "skipped": {"a": 4}}
    folder = Folder.of(tmp_path)
    folder.write_json("index.json", about)
    expected = Index(folder, Folder("s3://bucket/data"), 1, 2, 3, {"a": 4})
    assert finished_index(folder, options) == finished_index(folder) == expected
    for name, value in (("data", "s3://other"), ("split", "test"), ("ids", ""), ("version", VERSION + 1)):
        folder.write_json("index.json", {**about, name: value})
        with pytest.raises(ConfigError, match=f"is an index of other {name}; name another output folder, or --rescan"):
            finished_index(folder, options)


def test_folders_are_shared_that_one_chunk_or_two_give_several_studies(tmp_path):
    folder = Folder.of(tmp_path)
    chunks_of_owners = (
        [("a", 1), ("b", 1), ("c", SEVERAL), ("c/d", 1)],
        [("a", 2), ("b", 1), ("c", SEVERAL)],
        [("e", 3)],
    )
    for number, owners in enumerate(chunks_of_owners):
        places = [hash64(name) for name, _ in owners]
        table = pa.table({"folder": places, "owner": [owner for _, owner in owners]}, schema=OWNERS)
        (folder / "owners").write_table(f"{number}.parquet", table)
    index_module._write_shared(folder)
    shared = (folder / "owners").read_table("shared")["folder"].to_pylist()
    assert shared == sorted([hash64("a"), hash64("c")])


def test_a_chunk_counts_as_read_when_its_owners_are_written_too(tmp_path, monkeypatch):
    write_study(tmp_path / "data" / "one", "1.1", series=("sag",))
    folder, written = Folder.of(tmp_path / "index"), []
    monkeypatch.setattr(Folder, "write_table", lambda self, *_, **__: written.append(self))
    monkeypatch.setattr("logging.disable", lambda _: None)
    index_module._read_chunk(folder, Folder.of(tmp_path / "data"), (Listing("one/sag", ("1.dcm",)),), b"k")
    assert written == [folder / "owners", folder / "headers"]


@pytest.mark.parametrize("files", [0, 3, 4])
def test_a_first_pass_goes_on_with_the_key_and_the_chunks_of_the_attempt_before(tmp_path, monkeypatch, files):
    write_study(tmp_path / "data" / "one", "1.1", series=("sag",))
    source, folder = open_source(str(tmp_path / "data"), split="test"), Folder.of(tmp_path / "index")
    rows = pa.Table.from_pylist([{"key": 1, "sizes": [2] * files}], schema=ROWS)
    owners = pa.table({"folder": [1], "owner": [2]}, schema=OWNERS)
    known = chunk_name(list(source.listings()))
    for name in (known, "of-other-files.parquet"):
        (folder / "headers").write_table(name, rows)
        (folder / "owners").write_table(name, owners)
    folder.write_bytes("secret", b"k" * 32)
    monkeypatch.setattr(index_module, "FILES_A_PART", 3)
    plan = index_module._first_pass(folder, source)  # without Ray, since nothing is left to do
    assert plan == {"files": files, "bytes": 2 * files, "ranges": {0: 1, 3: 1, 4: 2}[files], "skipped": {}}
    assert folder.read_json("plan.json") == plan
    assert folder.read_bytes("secret") == b"k" * 32
    assert (folder / "headers").names() == [known]
    assert (folder / "owners").names() == [known, "shared"]


@pytest.mark.parametrize(
    ("begun", "files", "rescan", "goes_on"),
    [
        (None, (), False, False),
        ({"rescan": False}, (), False, True),
        ({"rescan": True}, (), False, True),
        ({"rescan": False}, (), True, False),
        ({"rescan": True}, (), True, True),
        ({"rescan": True}, ("plan.json",), True, True),
        ({"rescan": True}, ("index.json",), True, True),  # that of before, while the files are identified
        ({"rescan": True}, ("index.json", "plan.json"), True, False),  # all is there, and what is no longer needed
        ({"rescan": False, "split": "train"}, (), False, False),
    ],
)
def test_an_index_goes_on_where_one_of_the_same_was_begun_and_not_finished(tmp_path, begun, files, rescan, goes_on):
    folder, options = Folder.of(tmp_path), IndexOptions(str(tmp_path))
    if begun is not None:
        folder.write_json("begun.json", {**options.about(), **begun})
    for name in files:
        folder.write_json(name, {})
    assert index_module._goes_on(folder, options, rescan=rescan) is goes_on


@pytest.mark.parametrize("finished", [True, False])
def test_all_of_an_attempt_is_removed_first_what_says_that_it_can_be_used(tmp_path, monkeypatch, finished):
    folder, removed = Folder.of(tmp_path), []
    (tmp_path / "data").mkdir()
    if finished:
        folder.write_json("index.json", {})
    monkeypatch.setattr(Folder, "remove", lambda self, name: removed.append(name))
    monkeypatch.setattr(Folder, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        index_module.build_index(folder, IndexOptions(str(tmp_path / "data")), rescan=True)
    assert removed[:2] == ["begun.json", "secret"]
    expected = ["headers", "owners", "plan.json", "repeated.json"]
    assert sorted(removed[2:6]) == expected
    assert removed[6:] == ([] if finished else ["index.json", "studies"])


def test_every_row_is_in_the_range_of_one_part(tmp_path, monkeypatch):
    folder, taken = Folder.of(tmp_path), []
    keys = sorted(
        {key for edge in (0, 1 << 31, (1 << 32) // 3, 2 * (1 << 32) // 3, 1 << 32) for key in range(edge - 2, edge + 2)}
    )
    keys = [key for key in keys if 0 <= key < 1 << 32]
    rows = pa.Table.from_pylist([{"key": key} for key in keys], schema=ROWS)
    (folder / "headers").write_table("one.parquet", rows, row_group=2)
    (folder / "owners").write_table("shared", pa.table({"folder": pa.array([], pa.uint64())}))

    def part(root, rows, **_):
        taken.extend(row["key"] for row in rows)
        return Part(pa.Table.from_pylist([], schema=SERIES), Counter(a=1))

    monkeypatch.setattr(index_module, "study_part", part)
    monkeypatch.setattr("logging.disable", lambda _: None)
    for number in range(3):
        index_module._make_part(folder, folder, number, 3, Ids(), {})
    assert taken == keys
    assert (folder / "studies").names() == [f"part-0000{number}.parquet" for number in range(3)]
    assert index_module._skipped(folder / "studies") == {"a": 3}


def write_parts(folder, *parts):
    """Parts of an index: for each study its id, UID and number of files."""
    for number, studies in enumerate(parts):
        rows = [
            {"study_number": place, "study_id": name, "study_uid": uid, "files": files, "paths": [f"{number}/{place}"]}
            for place, (name, uid, files) in enumerate(studies)
        ]
        table = pa.Table.from_pylist(rows, schema=SERIES)
        (folder / "studies").write_table(f"part-0000{number}.parquet", table)


def names_of(folder):
    tables = (table for _, table in (folder / "studies").tables(["study_id"]))
    return [name for table in tables for name in table["study_id"].to_pylist()]


def test_a_study_that_a_table_names_without_files_goes_where_the_headers_made_it(tmp_path):
    folder = Folder.of(tmp_path)
    write_parts(folder, [("a", "", 0), ("b", "", 0), ("c", "", 2)], [("a", "1.1", 5), ("d", "", 0), ("a", "", 0)])
    index_module._drop_named(folder / "studies")
    assert names_of(folder) == ["b", "c", "a", "d"]


def test_studies_of_different_parts_with_one_id_are_named_by_their_uids(tmp_path):
    folder = Folder.of(tmp_path)
    first, second = [("a", "1.1", 1), ("b", "1.2", 1), ("c", "1.3", 1)], [("a", "1.4", 1), ("b", "1.5", 1)]
    write_parts(folder, first, second, [("a", "1.6", 1), ("d", "1.7", 1)])
    assert index_module._rename_repeated(folder) == 7
    assert names_of(folder) == ["1.1", "1.2", "c", "1.4", "1.5", "1.6", "d"]


def test_studies_without_files_are_counted_as_none(tmp_path):
    rows = pa.Table.from_pylist([{"key": 1, "sizes": []}, {"key": 2, "sizes": [3, 4]}], schema=ROWS)
    assert index_module._count(Folder.of(tmp_path)) == (0, 0, 0)
    Folder.of(tmp_path).write_table("a.parquet", rows, row_group=1)
    Folder.of(tmp_path).write_table("b.parquet", rows.slice(0, 1))
    assert index_module._count(Folder.of(tmp_path)) == (3, 2, 7)


@pytest.mark.parametrize("name", ["absent", "empty", "texts", "whole.tar.gz", "list.csv"])
def test_data_that_cannot_be_indexed_are_refused(tmp_path, ray_here, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "readme.txt").write_text("no image")
    (tmp_path / "whole.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "list.csv").write_text("study,file\n1,2\n")
    with pytest.raises(ConfigError, match=r"must be|no study|unpacked|no column"):
        build_index(Folder.of(tmp_path / "index"), IndexOptions(str(tmp_path / name)))
