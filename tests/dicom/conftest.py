"""What the tests of this folder share."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness.dicom_files import AXIAL, read_frames, read_headers, write_stack
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.study import StudyFiles
from tests.permissions import run_bound_by_permissions
from tests.real_data import SHARED, unpack

RAMP = np.arange(48, dtype=np.uint16).reshape(6, 8)


def only(path: Path):
    (header,) = read_headers(path)
    return header


def pixels_of(header):
    return read_frames([header])[0]


LATERAL = [(float(x), 0.0, 0.0) for x in (-8, -4, 0, 4, 8)]

UPWARD = [(0.0, 0.0, float(z)) for z in (0, 4, 8)]


def only_study(data: Path, **options: str):
    (files,) = find_studies(data, **options)
    return read_study(files)


def xs(study) -> list[float]:
    return [float(item.plane.origin[0]) for item in study.series[0].slices]


def shape(studies: tuple[StudyFiles, ...]) -> dict[str, dict[str, int]]:
    return {study.study_id: {series.series_id: len(series.paths) for series in study.series} for study in studies}


def write_table(path: Path, *rows: str) -> None:
    path.write_text("\n".join(["study_id,series_id,series_description", *rows]) + "\n")


@pytest.fixture
def competition(tmp_path):
    """Studies 9 and 10 with one T2 series each, study 11 in the table only, series 3 in no table."""
    for study in ("10", "9"):
        write_stack(tmp_path / "test_images" / study / "2", LATERAL)
    write_stack(tmp_path / "test_images" / "9" / "3", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax")
    rows = [f"{study},2,Sagittal T2/STIR" for study in ("9", "10", "11")]
    write_table(tmp_path / "test_series_descriptions.csv", *rows)
    return tmp_path


INSPECT = """
import sys
from pathlib import Path
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
for files in find_studies(Path(sys.argv[1])):
    study = read_study(files)
    print(study.study_id, [len(series.slices) for series in study.series], *study.problems, sep="|")
"""


def inspected(data):
    done = run_bound_by_permissions("-c", INSPECT, str(data))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def close():
    """Takes all permissions from a path but those left, until the test is over."""
    closed = []

    def take(path, *, left=0):
        closed.append((path, path.stat().st_mode))
        path.chmod(left)

    yield take
    for path, mode in closed:
        path.chmod(mode)


COUNTS = {
    "44036939": {"2828203845": 25, "3481971518": 47, "3844393089": 25},
    "100206310": {"1012284084": 60, "1792451510": 18, "2092806862": 18},
    "4646740": {"3201256954": 54, "3486248476": 17, "3666319702": 17},
}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    return unpack("rsna_dicom", "studies.zip", "study_4646740.zip", into=root)


def real_roles() -> dict[str, str]:
    tables = [SHARED / "rsna_tables" / f"{split}_series_descriptions.csv" for split in ("test", "train")]
    rows = [row for table in tables for row in csv.DictReader(table.read_text().splitlines())]
    return {row["series_id"]: row["series_description"] for row in rows if row["study_id"] in COUNTS}
