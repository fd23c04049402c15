from __future__ import annotations

import zipfile

import pytest

from lumbar_kernel.dicom.folders import has_dicom_suffix, is_folder, natural_key, subfolders, top_folder, walk

FILES = ("b/10.dcm", "b/9.dcm", "a/2/x", "a/10/x", ".hidden/x", "a/.x", "__MACOSX/x", "top.dcm", "DICOMDIR")
SHOWN = [(".", ["top.dcm"]), ("a/2", ["x"]), ("a/10", ["x"]), ("b", ["9.dcm", "10.dcm"])]


@pytest.fixture(params=["folder", "archive"])
def root(request, tmp_path):
    """The same files in a folder and in a zip."""
    if request.param == "archive":
        with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
            for name in FILES:
                archive.writestr(name, "")
        return tmp_path / "files.zip"
    for name in FILES:
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).touch()
    return tmp_path / "files"


def test_every_folder_comes_once_in_natural_order_without_what_holds_no_images(root):
    closed = []
    assert [(str(folder.relative_to(root)), names) for folder, names in walk(root, closed)] == SHOWN
    assert closed == []
    assert [name for folder, _ in walk(root / "a", closed) for name in [folder.name]] == ["2", "10"]


def test_folders_are_known_on_disk_and_in_archives(root):
    assert subfolders(root) == ["a", "b"]
    assert [is_folder(root / name) for name in ("a", "a/2", "a/2/x", "absent", "top.dcm", "top.dcm/x")] == [
        *(True, True, False, False, False, False)
    ]


@pytest.mark.parametrize(
    ("names", "top"),
    [
        (["test_images/1/2/3.dcm"], ""),
        (["rsna/test_images/1/2/3.dcm", "rsna/sample_submission.csv"], "rsna"),
        (["a/b/train_images/1/2/3.dcm"], "a/b"),
        (["77/1/1.dcm"], ""),
        (["a/x", "b/x"], ""),
        ([], ""),
    ],
)
def test_the_top_of_an_archive_is_the_folder_that_holds_the_competitions_layout(tmp_path, names, top):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "")
    assert top_folder(tmp_path / "x.zip") == tmp_path / "x.zip" / top


def test_suffixes_of_images_in_any_case():
    assert [name for name in ("1.DCM", "a.b.ima", "x.dicom", "1", "dcm", "1.dcm.txt") if has_dicom_suffix(name)] == [
        *("1.DCM", "a.b.ima", "x.dicom")
    ]


def test_numbers_in_names_sort_by_value_however_long():
    names = ["10", "9", "009", "1" * 5000, "a2", "a10", "", "-"]
    assert sorted(names, key=natural_key) == ["", "009", "9", "10", "1" * 5000, "-", "a2", "a10"]
