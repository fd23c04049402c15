"""What an archive calls one series is divided into its acquisitions, and nothing else is divided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.robustness.dicom_files import AXIAL, CORONAL, SAGITTAL, read_headers, tilted_axial, write_slice
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.series_split import acquisitions
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

SAGITTAL_PLACES = [(float(x), 0.0, 0.0) for x in range(-16, 17, 4)]
AXIAL_PLACES = [(0.0, 0.0, float(z)) for z in range(0, 36, 4)]


@pytest.fixture
def write(tmp_path):
    """Writes a stack of slices into one flat folder; returns their headers."""
    written = []

    def write(places, orientation, *, pixels=None, **tags):
        headers = []
        for place in places:
            path = tmp_path / "flat" / f"{len(written):03d}.dcm"
            written.append(write_slice(path, pixels, position=place, orientation=orientation, **tags))
            headers += read_headers(written[-1])
        return headers

    return write


def sizes(headers):
    return {name: len(members) for name, members in acquisitions("s", headers)}


ONE_UID = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}


@pytest.mark.parametrize(
    "uids",
    [
        ONE_UID,
        {"StudyInstanceUID": "1.2", "SeriesInstanceUID": None},
        {"StudyInstanceUID": None, "SeriesInstanceUID": None, "PatientID": "ann"},
    ],
)
@pytest.mark.parametrize("described", [True, False])
def test_a_flat_folder_under_one_uid_or_none_gives_every_role(tmp_path, write, uids, described):
    t1 = {"SeriesDescription": "T1 sag"} if described else {"EchoTime": 10, "RepetitionTime": 500}
    t2 = {"SeriesDescription": "T2 sag"} if described else {"EchoTime": 100, "RepetitionTime": 3500}
    axial = {"SeriesDescription": "T2 ax"} if described else {"EchoTime": 100, "RepetitionTime": 4000}
    write(SAGITTAL_PLACES, SAGITTAL, **t1, **uids)
    write(SAGITTAL_PLACES, SAGITTAL, **t2, **uids)
    write(AXIAL_PLACES, AXIAL, **axial, **uids)
    (files,) = find_studies(tmp_path / "flat")
    study = read_study(files)
    assert {series.role: len(series.slices) for series in study.series} == {SAGITTAL_T1: 9, SAGITTAL_T2: 9, AXIAL_T2: 9}
    assert study.problems == ()


def test_one_uid_for_each_file_is_one_series(tmp_path, write):
    for k, place in enumerate(SAGITTAL_PLACES):
        uids = {"StudyInstanceUID": f"1.{k}", "SeriesInstanceUID": f"1.{k}.1", "PatientID": "ann"}
        write([place], SAGITTAL, SeriesDescription="T2 sag", **uids)
    for k, place in enumerate(AXIAL_PLACES):
        uids = {"StudyInstanceUID": f"2.{k}", "SeriesInstanceUID": f"2.{k}.1", "PatientID": "ann"}
        write([place], AXIAL, SeriesDescription="T2 ax", **uids)
    (files,) = find_studies(tmp_path / "flat")
    assert {series.role: len(series.slices) for series in read_study(files).series} == {SAGITTAL_T2: 9, AXIAL_T2: 9}


def test_parts_are_named_after_what_tells_them_apart(write):
    headers = write(SAGITTAL_PLACES, SAGITTAL, SeriesDescription="T1", **ONE_UID)
    headers += write(SAGITTAL_PLACES, SAGITTAL, SeriesDescription="T2", **ONE_UID)
    headers += write(AXIAL_PLACES, AXIAL, SeriesDescription="T2", **ONE_UID)
    assert sizes(headers) == {"s T1": 9, "s T2 sagittal": 9, "s T2 axial": 9}


def test_two_matrices_of_one_place_are_two_acquisitions_and_of_several_places_one(write):
    large = np.ones((12, 16), np.uint16)
    fine = {"pixels": large, "PixelSpacing": [0.5, 0.5]}
    headers = write(SAGITTAL_PLACES, SAGITTAL, **ONE_UID)
    assert sizes(headers + write(SAGITTAL_PLACES, SAGITTAL, **fine, **ONE_UID)) == {"s 6×8": 9, "s 12×16": 9}
    between = [(x + 4, y, z) for x, y, z in SAGITTAL_PLACES[::2]]
    assert sizes(headers[::2] + write(between, SAGITTAL, **fine, **ONE_UID)) == {"s": 10}


def test_two_spacings_of_one_matrix_are_two_acquisitions(write):
    same_middle = [(x, y + 1.75, z - 1.25) for x, y, z in SAGITTAL_PLACES]
    headers = write(SAGITTAL_PLACES, SAGITTAL, **ONE_UID)
    headers += write(same_middle, SAGITTAL, PixelSpacing=[0.5, 0.5], **ONE_UID)
    assert sizes(headers) == {"s 6×8 1": 9, "s 6×8 2": 9}


def test_two_echoes_of_about_the_same_places_are_two_acquisitions(write):
    headers = write(SAGITTAL_PLACES, SAGITTAL, EchoTime=10, **ONE_UID)
    headers += write([(x + 1.5, y, z) for x, y, z in SAGITTAL_PLACES], SAGITTAL, EchoTime=90, **ONE_UID)
    assert sizes(headers) == {"s 6×8 EchoTime 10": 9, "s 6×8 EchoTime 90": 9}


@pytest.mark.parametrize(("shared", "is_apart"), [(4, True), (3, False)])
def test_a_part_is_an_acquisition_where_half_of_its_places_are_shown_twice(write, shared, is_apart):
    places = [*SAGITTAL_PLACES[-shared:], *((20.0 + 4 * k, 0.0, 0.0) for k in range(8 - shared))]
    headers = write(SAGITTAL_PLACES, SAGITTAL, **ONE_UID)
    headers += write(places, SAGITTAL, pixels=np.ones((12, 16), np.uint16), PixelSpacing=[0.5, 0.5], **ONE_UID)
    assert (len(sizes(headers)) == 2) is is_apart


def test_slices_of_one_plane_that_lie_side_by_side_are_one_acquisition(write):
    beside = [(x, y, z + 50) for x, y, z in SAGITTAL_PLACES[:4]]
    headers = write(SAGITTAL_PLACES, SAGITTAL, **ONE_UID)
    headers += write(beside, SAGITTAL, pixels=np.ones((12, 16), np.uint16), PixelSpacing=[0.5, 0.5], **ONE_UID)
    assert sizes(headers) == {"s": 13}


def test_stacks_that_are_tilted_by_more_than_a_block_are_two(write):
    headers = [header for degrees in (0, 45) for header in write(AXIAL_PLACES, tilted_axial(degrees), **ONE_UID)]
    assert sorted(sizes(headers).values()) == [9, 9]


@pytest.mark.parametrize("other", [{"SeriesDescription": "T1"}, {"SeriesNumber": 4}])
def test_three_slices_of_another_description_or_number_are_a_series(write, other):
    tags = {"SeriesDescription": "T2", "SeriesNumber": 3} | ONE_UID
    headers = write(SAGITTAL_PLACES, SAGITTAL, **tags) + write(SAGITTAL_PLACES[:3], SAGITTAL, **(tags | other))
    assert list(sizes(headers).values()) == [9, 3]


def test_enhanced_files_of_one_frame_are_series_of_their_own(write):
    headers = write(SAGITTAL_PLACES[:4], SAGITTAL)
    frames = [replace(header, frame=0, series_uid=f"1.{k}") for k, header in enumerate(headers)]
    assert sizes(frames) == {f"1.{k}": 1 for k in range(4)}


def test_blocks_that_follow_the_discs_stay_together(write):
    headers = []
    for block, degrees in enumerate((-20, -5, 10, 30, 48)):
        headers += write([(0.0, 0.0, 30.0 * block + 4 * k) for k in range(4)], tilted_axial(degrees), **ONE_UID)
    assert sizes(headers) == {"s": 20}


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_a_scout_in_three_planes_stays_whole(write, slices):
    headers = []
    for orientation in (SAGITTAL, AXIAL, CORONAL):
        headers += write([(4.0 * k, 4.0 * k, 4.0 * k) for k in range(slices)], orientation, **ONE_UID)
    assert sizes(headers) == {"s": 3 * slices}


@pytest.mark.parametrize("odd", [{"SeriesDescription": "other"}, {"SeriesNumber": 9}, {"EchoTime": 5}])
def test_a_header_or_two_that_differ_divide_nothing(write, odd):
    tags = {"SeriesDescription": "T2", "SeriesNumber": 3, "EchoTime": 100} | ONE_UID
    headers = write(SAGITTAL_PLACES[:-2], SAGITTAL, **tags) + write(SAGITTAL_PLACES[-2:], SAGITTAL, **(tags | odd))
    assert sizes(headers) == {"s": 9}


def test_descriptions_that_count_the_slices_divide_nothing(write):
    headers = [
        header
        for k, place in enumerate(SAGITTAL_PLACES)
        for header in write([place], SAGITTAL, SeriesDescription=f"T2 slice {k}", **ONE_UID)
    ]
    assert sizes(headers) == {"s": 9}


def test_series_under_their_own_uids_are_named_by_them(write):
    headers = write(SAGITTAL_PLACES, SAGITTAL, SeriesInstanceUID="1.5")
    headers += write(AXIAL_PLACES, AXIAL, SeriesInstanceUID="1.6")
    assert sizes(headers) == {"1.5": 9, "1.6": 9}
