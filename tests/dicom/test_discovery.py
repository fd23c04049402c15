import os

import pytest

from benchmarks.robustness.dicom_files import write_stack
from lumbar_kernel.dicom.discovery import find_studies, natural_key, sample_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import ROWS
from tests.permissions import run_bound_by_permissions

LATERAL = [(float(x), 0.0, 0.0) for x in (-6, -2, 2, 6)]

INSPECT = """
import sys
from pathlib import Path
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
for files in find_studies(Path(sys.argv[1])):
    study = read_study(files)
    print(study.study_id, [len(series.slices) for series in study.series], *study.problems, sep="|")
"""


@pytest.fixture
def images(tmp_path):
    """Two studies of two series in the competition's layout."""
    for study in ("5", "7"):
        for series in ("1", "2"):
            uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.{series}"}
            write_stack(tmp_path / "test_images" / study / series, LATERAL, SeriesDescription=f"T{series}", **uids)
    return tmp_path / "test_images"


@pytest.fixture
def close():
    """Takes all permissions from a path, until the test is over."""
    closed = []

    def take(path):
        closed.append((path, path.stat().st_mode))
        path.chmod(0)

    yield take
    for path, mode in closed:
        path.chmod(mode)


def counts(folder):
    return {item.study_id: {one.series_id: len(one.paths) for one in item.series} for item in find_studies(folder)}


def inspected(data):
    done = run_bound_by_permissions("-c", INSPECT, str(data))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("target", ["..", ".", "../..", "loop"])
@pytest.mark.parametrize("layout", ["competition", "any"])
def test_links_that_lead_back_change_nothing(images, target, layout):
    folder = images if layout == "competition" else images.rename(images.with_name("bare"))
    before = counts(folder)
    for place in (folder, folder / "5", folder / "5" / "1"):
        (place / "loop").symlink_to(target)
        (place / "0").symlink_to(folder / "7" / "1")
    assert {key: value for key, value in counts(folder).items() if key in ("5", "7")} == before


def test_links_side_by_side_do_not_multiply(tmp_path):
    write_stack(tmp_path / "data" / "20" / "s", LATERAL)
    for number in range(20):  # 2^20 ways down
        for name in "ab":
            folder = tmp_path / "data" / str(number)
            folder.mkdir(exist_ok=True)
            (folder / name).symlink_to(tmp_path / "data" / str(number + 1))
    assert sum(sum(series.values()) for series in counts(tmp_path / "data").values()) == 4


def test_a_folder_named_like_a_file_and_things_that_are_no_files_block_nothing(images):
    (images / "5" / "1" / "9.dcm").mkdir()
    os.mkfifo(images / "5" / "1" / "8.dcm")
    os.mkfifo(images / "5" / "1" / "pipe")
    (images / "5" / "1" / "7.dcm").symlink_to("/dev/zero")
    study = read_study(find_studies(images)[0])
    assert [len(series.slices) for series in study.series] == [4, 4]
    assert [problem.split(":")[0] for problem in study.problems] == ["1/7.dcm", "1/8.dcm"]


@pytest.mark.parametrize("below", ["5", "5/1", "5/1/2.dcm"])
def test_what_may_not_be_read_is_named_in_its_study_and_costs_only_itself(images, close, below):
    close(images / below)
    first, second = inspected(images)
    kept = {"5": "[]", "5/1": "[4]", "5/1/2.dcm": "[3, 4]"}[below]
    assert first.startswith(f"5|{kept}|")
    assert f"{below}: "[-9:] in first
    assert second == "7|[4, 4]"


def test_a_closed_folder_outside_the_layout_costs_only_itself(images, close):
    bare = images.rename(images.with_name("bare"))
    close(bare / "5")
    (bare / "7" / "notes").write_text("no suffix, no permission")
    close(bare / "7" / "notes")
    assert inspected(bare) == ["7|[4, 4]"]


def test_a_closed_data_folder_is_a_usage_error(images, close):
    close(images)
    done = run_bound_by_permissions("-m", "lumbar_kernel", "inspect", str(images))
    assert done.returncode == 2
    assert "cannot be listed" in done.stderr


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"\xff\xfe" * 50, b'study_id,series_id,series_description\n"' + b"x" * 200_000, b"a,b\n1,2\n"],
)
def test_a_broken_table_is_as_good_as_none(images, content):
    before = counts(images)
    for name in ("test_series_descriptions.csv", "sample_submission.csv"):
        (images.parent / name).write_bytes(content)
    assert counts(images.parent) == before
    assert sample_studies(images.parent) == []


def test_the_sample_tells_studies_in_its_order_whatever_its_encoding(tmp_path):
    rows = [f"{study}_{row}" for study in ("9", "a_b", "10") for row in ROWS] + ["nonsense"]
    (tmp_path / "sample_submission.csv").write_bytes(
        b"\xef\xbb\xbfrow_id,x\n" + "\n".join(rows).encode() + b"\n\xff\xe9,1"
    )
    assert sample_studies(tmp_path) == ["9", "a_b", "10"]


def test_numbers_in_names_sort_by_value_however_long():
    names = ["10", "9", "009", "1" * 5000, "a2", "a10", "", "-"]
    assert sorted(names, key=natural_key) == ["", "009", "9", "10", "1" * 5000, "-", "a2", "a10"]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        find_studies(tmp_path / "nowhere")
