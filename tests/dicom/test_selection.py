from __future__ import annotations

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.robustness.dicom_files import AXIAL, SAGITTAL, tilted_axial, write_slice, write_stack
from lumbar_kernel.dicom import descriptions
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.selection import choose
from lumbar_kernel.dicom.stacks import stacks_of
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import SeriesFiles, StudyFiles
from tests.dicom.conftest import LATERAL, UPWARD, only_study

DERIVED = ["DERIVED", "SECONDARY", "MPR"]
BELOW = [(x, y, z - 400) for x, y, z in LATERAL]


def write(folder, name, places=LATERAL, *, orientation=SAGITTAL, **tags):
    return write_stack(folder / "1" / name, places, orientation=orientation, SeriesInstanceUID=f"1.{ord(name)}", **tags)


def read_and_rejected(folder):
    study = only_study(folder)
    reasons = {item.series_id: item.reason for item in study.decisions if item.role is None}
    return [series.series_id for series in study.series], reasons


LATER, EARLIER = {"AcquisitionTime": "110000"}, {"AcquisitionTime": "100000"}
T2_SAG = {"SeriesDescription": "T2 SAG"}


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        ({}, {"ImageType": DERIVED}, "derived"),
        ({}, {"SeriesDescription": "T1 SAG +C"}, "contrast agent"),
        ({}, {"ContrastBolusAgent": "Gadovist"}, "contrast agent"),
        ({}, {"SeriesDescription": "T1 SAG FS"}, "fat-suppressed"),
        ({}, {"ScanOptions": ["PFP", "FS"]}, "fat-suppressed"),
        ({"SeriesDescription": "T1 sag ohne KM"}, {"SeriesDescription": "T1 sag mit KM"}, "contrast agent"),
        ({"SeriesDescription": "SAG T1 POST OP"}, {"SeriesDescription": "SAG T1 POST OP +C"}, "contrast agent"),
        ({"SeriesDescription": "SAG T1 POST OP"}, {"SeriesDescription": "SAG T1 POSTOP GAD"}, "contrast agent"),
        ({"SeriesDescription": "T1 postoperativ"}, {"SeriesDescription": "T1 postoperativ mit KM"}, "contrast agent"),
        ({"AcquisitionTime": "110000"}, {"AcquisitionTime": "100000"}, "an earlier acquisition"),
        ({"SeriesNumber": 12}, {"SeriesNumber": 3}, "an earlier acquisition"),
        ({"SeriesDescription": "T1 dixon sag_in"}, {"SeriesDescription": "T1 dixon sag_W"}, "water image"),
        ({}, {"PixelSpacing": [1.9, 1.9]}, "scout"),
        ({}, {"PixelSpacing": [1, 1.9]}, "a scout by pixels of 1.9 mm and steps of 4 mm"),
        (LATER | {"PixelSpacing": [1.5, 1.5]}, EARLIER, "an earlier acquisition"),
        (LATER | {"SeriesNumber": 3}, EARLIER | {"SeriesNumber": 12}, "an earlier acquisition"),
        ({"SeriesDescription": "T1 dixon sag_W"}, {"SeriesDescription": "T1 dixon sag_opp"}, "opposed phase image"),
        (LATER | {"SeriesDescription": "T1 dixon sag_in"}, EARLIER, "an earlier acquisition"),
        (LATER | {"ScanningSequence": "GR"}, EARLIER, "an earlier acquisition"),
        (LATER | T2_SAG | {"ContrastBolusAgent": "Gadovist"}, EARLIER | T2_SAG, "an earlier acquisition"),
        (LATER | T2_SAG | {"ScanningSequence": ["GR", "SE"]}, EARLIER | T2_SAG, "an earlier acquisition"),
    ],
)
@pytest.mark.parametrize("names", ["ab", "ba"])
def test_of_two_series_for_one_role_the_rule_reads_one(tmp_path, better, worse, reason, names):
    first, second = names
    write(tmp_path, first, **({"SeriesDescription": "T1 SAG"} | better))
    write(tmp_path, second, **({"SeriesDescription": "T1 SAG"} | worse))
    read, rejected = read_and_rejected(tmp_path)
    assert read == [first]
    assert reason in rejected[second]


def test_the_fuller_and_the_denser_series_are_read(tmp_path):
    write(tmp_path, "1", LATERAL[:4], SeriesDescription="T1 SAG")
    write(tmp_path, "2", LATERAL, SeriesDescription="T1 SAG")
    assert read_and_rejected(tmp_path)[0] == ["2"]
    write(
        tmp_path, "3", [(-8, 0, 0), (-4, 0, 0), (0, 0, 0), (4, 0, 0), (8, 0, 0), (12, 0, 0)], SeriesDescription="T1 SAG"
    )
    assert read_and_rejected(tmp_path)[0] == ["3"]


def spread(count, step, orientation=SAGITTAL):
    """Places of slices from side to side, or along the body."""
    offsets = step * (np.arange(count) - (count - 1) / 2)
    return [(float(x), 0.0, 0.0) if orientation is SAGITTAL else (0.0, 0.0, float(x)) for x in offsets]


def test_one_odd_header_ranks_no_series_behind_another(tmp_path):
    write(tmp_path, "1", SeriesDescription="T1 SAG", **EARLIER)
    write(tmp_path, "2", SeriesDescription="T1 SAG", **LATER)
    odd = {"SeriesDescription": "T1 SAG FS +C", "SeriesInstanceUID": f"1.{ord('2')}", "ImageType": DERIVED}
    write_slice(tmp_path / "1" / "2" / "1.dcm", position=LATERAL[0], orientation=SAGITTAL, InstanceNumber=1, **odd)
    assert read_and_rejected(tmp_path)[0] == ["2"]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((4.0, 12.0), "a scout by pixels of 1.0 mm and steps of 12 mm"),
        ((4.0, 5.0), "steps of 5.0 mm, wider"),
        ((4.04, 4.0), "an earlier acquisition"),
    ],
)
def test_the_step_between_slices_decides_where_it_differs_by_more_than_rounding(tmp_path, steps, reason):
    for name, step, acquired in zip("12", steps, (LATER, EARLIER), strict=True):
        write(tmp_path, name, spread(5, step), SeriesDescription="T1 SAG", **acquired)
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["1"]
    assert reason in rejected["2"]


@pytest.mark.parametrize(("new", "moved", "read"), [(2, 0.0, ["1", "2"]), (1, 0.0, ["1"]), (0, 1.5, ["1"])])
def test_a_series_is_read_beside_another_where_a_third_of_its_slices_show_new_places(tmp_path, new, moved, read):
    write(tmp_path, "1", [(0.0, 0.0, 4.0 * k) for k in range(9)], orientation=AXIAL, SeriesDescription="T2 ax")
    places = [(0.0, 0.0, 4.0 * (k + 3 + new) - moved) for k in range(6)]
    write(tmp_path, "2", places, orientation=AXIAL, SeriesDescription="T2 ax")
    assert sorted(read_and_rejected(tmp_path)[0]) == read


def test_slices_of_one_height_that_lie_side_by_side_show_other_places(tmp_path):
    write(tmp_path, "1", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax")
    write(tmp_path, "2", [(x, y + 20, z) for x, y, z in UPWARD], orientation=AXIAL, SeriesDescription="T2 ax")
    assert sorted(read_and_rejected(tmp_path)[0]) == ["1", "2"]


def test_blocks_of_one_contrast_count_together_beside_a_survey(tmp_path):
    write(tmp_path, "1", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax")
    write(tmp_path, "2", [(x, y, z + 60) for x, y, z in UPWARD], orientation=AXIAL, SeriesDescription="T2 ax")
    write(tmp_path, "3", spread(27, 6.0, AXIAL), orientation=AXIAL, SeriesDescription="T2 HASTE ax")
    assert sorted(read_and_rejected(tmp_path)[0]) == ["1", "2"]


def test_a_sagittal_series_of_another_contrast_is_never_read_beside_the_first(tmp_path):
    write(tmp_path, "1", SeriesDescription="T1 SAG")
    write(tmp_path, "2", [(x + 60, y, z) for x, y, z in LATERAL], SeriesDescription="T1 SAG FS")
    assert read_and_rejected(tmp_path)[0] == ["1"]


@pytest.mark.parametrize(("down", "reason"), [(2.0, "equal in all"), (4.0, "a station of the spine 4 mm above")])
def test_frames_that_share_less_than_half_of_their_height_are_stations(tmp_path, down, reason):
    write(tmp_path, "1", [(x, y, z - down) for x, y, z in LATERAL], SeriesDescription="T2 sag")
    write(tmp_path, "0", SeriesDescription="T2 sag")
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["1"]
    assert reason in rejected["0"]


@pytest.mark.parametrize(
    ("orientation", "count", "better", "worse", "reason"),
    [
        (SAGITTAL, 14, "SAG T2 FSE", {"SeriesDescription": "SAG SSFSE T2"}, "single-shot"),
        (AXIAL, 15, "t2_tse_tra", {"SeriesDescription": "t2_haste_tra"}, "single-shot"),
        (AXIAL, 18, "AX T2", {"SeriesDescription": "AX T2 MPR", "ImageType": DERIVED}, "derived"),
        (SAGITTAL, 14, "SAG T1", {"SeriesDescription": "t1_space_fs_sag +C"}, "with contrast agent"),
        (SAGITTAL, 10, "SAG T1", {"SeriesDescription": "t1_vibe_dixon_sag_W"}, "water image"),
        (SAGITTAL, 13, "SAG T2 FSE", {"SeriesDescription": "SAG STIR"}, "fat-suppressed"),
        (AXIAL, 17, "AX T2 FSE", {"SeriesDescription": "AX T2 FS"}, "fat-suppressed"),
        (AXIAL, 17, "AX T2 FSE", {"SeriesDescription": "AX T2 MERGE", "ScanningSequence": "GR"}, "a gradient echo"),
    ],
)
def test_a_series_that_covers_what_is_graded_does_not_yield_to_a_wider_one(
    tmp_path, orientation, count, better, worse, reason
):
    write(tmp_path, "1", spread(count, 4.0, orientation), orientation=orientation, SeriesDescription=better)
    write(tmp_path, "2", spread(27, 6.0, orientation), orientation=orientation, **worse)
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["1"]
    assert reason in rejected["2"]


@pytest.mark.parametrize(
    ("orientation", "count", "worse", "reason"),
    [
        (SAGITTAL, 3, {"SeriesDescription": "SAG SSFSE T2"}, "a remnant that covers 8 of 60 mm"),
        (AXIAL, 3, {"SeriesDescription": "T2 AX HASTE"}, "a remnant that covers 8 of 140 mm"),
        (AXIAL, 4, {"SeriesDescription": "AX T2 MPR", "ImageType": DERIVED}, "a remnant that covers 12 of 140 mm"),
        (AXIAL, 12, {"SeriesDescription": "T2 AX HASTE"}, "a remnant that covers 44 of 140 mm"),
        (SAGITTAL, 7, {"SeriesDescription": "SAG T2 FS"}, "it covers 24 of 60 mm"),
        (SAGITTAL, 9, {"SeriesDescription": "SAG T2 FS"}, "it covers 32 of 60 mm"),
        (AXIAL, 14, {"SeriesDescription": "AX T2 FS"}, "it covers 52 of 140 mm"),
    ],
)
def test_an_acquisition_that_was_stopped_yields_to_a_complete_one_of_another_kind(
    tmp_path, orientation, count, worse, reason
):
    write(tmp_path, "1", spread(count, 4.0, orientation), orientation=orientation, SeriesDescription="T2 TSE")
    write(tmp_path, "2", spread(27, 6.0, orientation), orientation=orientation, **worse)
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["2"]
    assert reason in rejected["1"]


def test_the_lumbar_station_need_not_be_as_wide_as_a_volume_above_it(tmp_path):
    write(tmp_path, "1", [(x, y, z - 400) for x, y, z in spread(13, 4.0)], SeriesDescription="T2 sag")
    write(tmp_path, "2", spread(30, 4.5), SeriesDescription="T2 sag")
    assert read_and_rejected(tmp_path)[0] == ["1"]


def test_series_of_many_slices_are_compared_quickly(tmp_path):
    """Slice by slice in Python, two volumes of 300 slices took 2.4 s."""
    names = {"1": "T2 sag", "2": "T2 sag repeat"}
    for name, description in names.items():
        write(tmp_path, name, LATERAL[:1], SeriesDescription=description)
    files = [SeriesFiles(name, None, tuple((tmp_path / "1" / name).iterdir())) for name in names]
    stacks = [many_slices(stack, 300) for stack in stacks_of(files).stacks]
    start = time.process_time()
    choices = choose(stacks)
    assert sum(choice.read for choice in choices) == 1
    assert time.process_time() - start < 1.0


def many_slices(stack, count):
    """The stack with its slice repeated at other places."""
    (header,) = stack.headers
    planes = [replace(header.plane, origin=np.array([0.2 * k, 0.0, 0.0])) for k in range(count)]
    return replace(stack, headers=tuple(replace(header, plane=plane) for plane in planes))


def test_a_series_alone_is_read_with_a_caution(tmp_path):
    write(tmp_path, "1", SeriesDescription="T1 SAG FS +C")
    study = only_study(tmp_path)
    assert [series.role for series in study.series] == [SAGITTAL_T1]
    assert study.problems == (
        "series 1 ('T1 SAG FS +C') is read as Sagittal T1 although with contrast agent, fat-suppressed",
    )


def test_stir_needs_no_caution(tmp_path):
    write(tmp_path, "1", SeriesDescription="SAG STIR")
    assert only_study(tmp_path).problems == ()


def test_a_repeat_that_cannot_be_decoded_gives_way_to_the_other(tmp_path):
    write(tmp_path, "1", SeriesDescription="T1 SAG", AcquisitionTime="100000")
    for path in write(tmp_path, "2", SeriesDescription="T1 SAG", AcquisitionTime="110000"):
        path.write_bytes(path.read_bytes()[:-20])
    assert only_study(tmp_path).series[0].series_id == "1"


def test_blocks_of_one_contrast_are_read_together_and_repeats_are_not(tmp_path):
    write(tmp_path, "1", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax L5")
    higher = [(0.0, 0.0, 60.0 + 4 * k) for k in range(4)]
    write(tmp_path, "2", higher, orientation=tilted_axial(12), SeriesDescription="T2 ax L3")
    write(tmp_path, "3", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax repeat", AcquisitionTime="235959")
    write(tmp_path, "4", higher[1:], orientation=tilted_axial(12), SeriesDescription="T2 ax L3 stopped")
    read, rejected = read_and_rejected(tmp_path)
    assert sorted(read) == ["2", "3"]
    assert "earlier" in rejected["1"]
    assert "; series 2 ('T2 ax L3') is read as Axial T2 instead" in rejected["4"]


def test_two_contrasts_never_share_their_places(tmp_path):
    write(tmp_path, "1", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax")
    beside = [(0.0, 0.0, z) for z in (12.0, 16.0, 20.0, 24.0)]  # the last of them lies far enough
    write(tmp_path, "2", beside, orientation=AXIAL, SeriesDescription="T2 ax FS")
    far = [(x, y, z + 30) for x, y, z in UPWARD]
    write(tmp_path, "3", far, orientation=AXIAL, SeriesDescription="T2 ax FS upper")
    read, rejected = read_and_rejected(tmp_path)
    assert sorted(read) == ["1", "3"]
    assert list(rejected) == ["2"]


def test_of_two_stations_of_a_spine_the_lower_is_read(tmp_path):
    write(tmp_path, "1", BELOW, SeriesDescription="T2 sag")
    write(tmp_path, "2", SeriesDescription="T2 sag")
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["1"]
    assert "a station of the spine 400 mm above" in rejected["2"]


WIDE = [(float(x), 0.0, 0.0) for x in range(-28, 12, 4)]
WIDE_BELOW = [(x, y, z - 400) for x, y, z in WIDE]


@pytest.mark.parametrize(
    ("lumbar", "lower", "places"),
    [
        ({"SeriesDescription": "SAG T2 L-SPINE"}, {"SeriesDescription": "SAG T2 SI"}, WIDE_BELOW),
        ({"SeriesDescription": "SAG T2 L-SPINE"}, {"BodyPartExamined": "LSPINE"}, WIDE_BELOW),
        ({"BodyPartExamined": "LSPINE"}, {"BodyPartExamined": "PELVIS"}, WIDE_BELOW),
        ({}, {"SeriesDescription": "T2 HASTE sag"}, WIDE_BELOW),
        ({}, {"PixelSpacing": [1.9, 1.9]}, WIDE_BELOW),
        ({}, {"ImageType": DERIVED}, WIDE_BELOW),
        ({}, {}, BELOW[:3]),
        ({"SeriesDescription": "T2 LWS"}, {"SeriesDescription": "T2 LWS"}, BELOW[:3]),
    ],
    ids=["SI", "described", "pelvis", "single shot", "coarse", "derived", "small", "small and named"],
)
def test_a_lower_series_that_is_not_the_lumbar_station_does_not_displace_it(tmp_path, lumbar, lower, places):
    write(tmp_path, "1", WIDE, **({"SeriesDescription": "T2 sag"} | lumbar))
    write(tmp_path, "2", places, **({"SeriesDescription": "T2 sag"} | lower))
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["1"]
    assert re.match(r"a station of the spine 40\d mm below series 1 \('.*'\), which is read", rejected["2"])


def test_a_small_series_is_the_lumbar_station_where_it_is_named_so(tmp_path):
    write(tmp_path, "1", BELOW[:3], SeriesDescription="T2 HASTE LWS")
    write(tmp_path, "2", WIDE, SeriesDescription="T2 sag")
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["1"]
    assert "a station of the spine 400 mm above series 1 ('T2 HASTE LWS'), which is read" in rejected["2"]


@pytest.mark.parametrize(
    "description",
    ["T2 SAG TSE PELVIS", "T2 TSE SAG BECKEN", "SAG T2 SACRUM", "T2 sag bassin", "T2 sag Steißbein", "T2 sag coccyx"],
)
def test_a_pelvis_below_the_lumbar_spine_is_refused_by_name(tmp_path, description):
    write(tmp_path, "1", SeriesDescription="T2 sag")
    write(tmp_path, "2", [(x, y, z - 5) for x, y, z in LATERAL], SeriesDescription=description)
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["1"]
    assert rejected["2"] == "it shows the pelvis or sacrum by SeriesDescription"


@pytest.mark.parametrize(
    "description",
    ["T2 TRA ABDOMEN", "AX T2 LIVER", "T2 haste Niere", "AX T2 RENAL", "AX T2 UTERUS", "MRCP T2", "T2 tra Oberbauch"],
)
def test_an_abdomen_is_refused_by_name(tmp_path, description):
    write(tmp_path, "1", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax")
    write(tmp_path, "2", spread(30, 5.0, AXIAL), orientation=AXIAL, SeriesDescription=description)
    read, rejected = read_and_rejected(tmp_path)
    assert read == ["1"]
    assert rejected["2"] == "it shows the abdomen by SeriesDescription"


@pytest.mark.parametrize(
    ("tags", "region"),
    [
        ({"SeriesDescription": "T2 sag HWS"}, "cervical"),
        ({"SeriesDescription": "T2 sag", "BodyPartExamined": "TSPINE"}, "thoracic"),
        ({"SeriesDescription": "T1 sag genou"}, "joint"),
        ({"SeriesDescription": "T2 sag", "BodyPartExamined": "BRAIN"}, "head"),
        (
            {
                "SeriesDescription": "T2 sag",
                "BodyPartExamined": "HEAD",
                "ProtocolName": "Brain routine",
                "StudyDescription": "MRI LUMBAR SPINE",
            },
            "head",
        ),
        (
            {
                "SeriesDescription": "T2 sag",
                "BodyPartExamined": "CSPINE",
                "StudyDescription": "MRI CERVICAL AND LUMBAR SPINE",
            },
            "cervical",
        ),
        ({"SeriesDescription": "T2 sag HWS", "StudyDescription": "MRT LWS"}, "cervical"),
        (
            {"SeriesDescription": "T2 sag", "BodyPartExamined": "TSPINE", "StudyDescription": "MRI C/T/L-SPINE"},
            "thoracic",
        ),
    ],
)
def test_other_regions_are_refused_by_name(tmp_path, tags, region):
    write(tmp_path, "1", **tags)
    study = only_study(tmp_path)
    assert study.series == ()
    assert region in study.decisions[0].reason


@pytest.mark.parametrize(
    "tags",
    [
        {"SeriesDescription": "T2 sag LWS", "BodyPartExamined": "HEAD"},
        {"SeriesDescription": "T2 sag L-spine"},
        {"SeriesDescription": "T2 sag", "BodyPartExamined": "ABDOMEN"},
        {"SeriesDescription": "T2 sag", "BodyPartExamined": "PELVIS"},
        {"SeriesDescription": "T2 sag", "BodyPartExamined": "KIDNEY"},
        {"SeriesDescription": "T2 sag", "BodyPartExamined": "HEAD", "ProtocolName": "LUMBAR SPINE/ROUTINE"},
        {"SeriesDescription": "T2 sag", "BodyPartExamined": "HEAD", "StudyDescription": "MRI LUMBAR SPINE W/O"},
        {"SeriesDescription": "T2 sag", "BodyPartExamined": "KNEE", "StudyDescription": "MRT LWS"},
        {"SeriesDescription": "T2 sag", "BodyPartExamined": "CSPINE", "StudyDescription": "MRI L-SPINE"},
        {"SeriesDescription": "T2 sag abdomen sat"},
        {"SeriesDescription": "T2 sag abdominal belt"},
        {"SeriesDescription": "T2 TSE LWS + Nieren"},
        {"SeriesDescription": "T2 sag lumbosacral", "BodyPartExamined": "SACRUM"},
        {"SeriesDescription": "T2 sag L-S spine + sacrum"},
        {"SeriesDescription": "T2 sag T12-sacrum"},
        {"SeriesDescription": "T2 sag LWS mit Kreuzbein"},
        {"SeriesDescription": "T2 sag dorsolumbar", "BodyPartExamined": "SPINE"},
    ],
)
def test_the_lumbar_spine_is_not_taken_for_another_region(tmp_path, tags):
    write(tmp_path, "1", **tags)
    assert [series.role for series in only_study(tmp_path).series] == [SAGITTAL_T2]


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SeriesDescription": "T2 sag HWS"}, None),
        ({"SeriesDescription": "T2 sag", "BodyPartExamined": "CSPINE"}, None),
        ({"SeriesDescription": "T2 sag", "BodyPartExamined": "LSPINE", "StudyDescription": "MRI C-SPINE"}, None),
        ({"SeriesDescription": "T2 sag LWS"}, "it shows the lumbar spine by SeriesDescription"),
        (
            {"SeriesDescription": "T2 sag", "BodyPartExamined": "LSPINE", "StudyDescription": "MRI C/T/L-SPINE"},
            "it shows the lumbar spine by BodyPartExamined LSPINE",
        ),
    ],
)
def test_another_region_may_be_the_one_to_read(tmp_path, monkeypatch, tags, reason):
    monkeypatch.setattr(descriptions, "EXAMINED", "the cervical spine")
    write(tmp_path, "1", **tags)
    study = only_study(tmp_path)
    assert [series.role for series in study.series] == ([] if reason else [SAGITTAL_T2])
    assert not reason or study.decisions[0].reason == reason


def test_images_of_a_dixon_series_are_told_apart_by_image_type(tmp_path):
    for number, name in enumerate(("FAT", "WATER", "IN_PHASE", "OPP_PHASE")):
        for index, position in enumerate(LATERAL):
            write_slice(
                tmp_path / "1" / "2" / f"{number}{index}.dcm",
                np.full((6, 8), number + 1, np.uint16) + np.arange(8, dtype=np.uint16),
                position=position,
                orientation=SAGITTAL,
                InstanceNumber=4 * index + number,
                SeriesDescription="T1 dixon sag",
                ImageType=["DERIVED", "PRIMARY", "DIXON", name],
            )
    study = only_study(tmp_path)
    assert [series.series_id for series in study.series] == ["2 in phase"]
    assert {item.series_id for item in study.decisions if not item.role} == {"2 fat", "2 water", "2 opposed phase"}


SERIES = {
    "a": {"SeriesDescription": "T1 SAG"},
    "b": {"SeriesDescription": "T1 SAG FS +C", "SeriesNumber": 9},
    "c": {"SeriesDescription": "T2 SAG", "AcquisitionTime": "100000"},
    "d": {"SeriesDescription": "T2 SAG", "AcquisitionTime": "113000"},
    "e": {"SeriesDescription": "STIR SAG"},
    "f": {"SeriesDescription": "T1 SAG", "ImageType": DERIVED},
    "g": {"SeriesDescription": "localizer"},
}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for name, tags in SERIES.items():
        write(folder, name, **tags)
    return {name: tuple(sorted((folder / "1" / name).iterdir())) for name in SERIES}


@settings(max_examples=25)
@given(order=st.permutations(sorted(SERIES)), names=st.permutations(sorted(SERIES)))
def test_order_and_names_of_series_change_nothing(many, order, names):
    files = tuple(SeriesFiles(name, None, many[original]) for name, original in zip(names, order, strict=True))
    study = read_study(StudyFiles("1", files))
    read = {series.role: dict(zip(names, order, strict=True))[series.series_id] for series in study.series}
    assert read == {SAGITTAL_T1: "a", SAGITTAL_T2: "d"}


def files_of(folder, **roles):
    """The series of a folder, named a and b, with the roles that a table gives."""
    return [SeriesFiles(name, role, tuple(sorted((folder / "1" / name).iterdir()))) for name, role in roles.items()]


@pytest.mark.parametrize(("role", "orientation", "down"), [(AXIAL_T2, AXIAL, 0), (SAGITTAL_T2, SAGITTAL, 400)])
def test_series_of_a_table_are_all_read_where_they_lie(tmp_path, role, orientation, down):
    places = UPWARD if orientation is AXIAL else LATERAL
    write(tmp_path, "a", places, orientation=orientation)
    write(tmp_path, "b", [(x, y, z - down) for x, y, z in places], orientation=orientation)
    assert all(choice.read for choice in choose(stacks_of(files_of(tmp_path, a=role, b=role)).stacks))


@pytest.mark.parametrize(("up", "says_so"), [(0, False), (100, True)])
def test_other_places_are_a_reason_only_where_they_are_shown(tmp_path, up, says_so):
    write(tmp_path, "a", UPWARD, orientation=AXIAL)
    write(tmp_path, "b", [(x, y, z + up) for x, y, z in UPWARD], orientation=AXIAL)
    choices = choose(stacks_of(files_of(tmp_path, a=AXIAL_T2, b=AXIAL_T2)).stacks)
    assert [choice.read for choice in choices] == [True, True]
    assert any("other places" in choice.reason for choice in choices) is says_so


def test_axial_series_of_a_table_never_share_their_places_with_another_contrast(tmp_path):
    write(tmp_path, "a", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax")
    write(tmp_path, "b", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax FS")
    choices = choose(stacks_of(files_of(tmp_path, a=AXIAL_T2, b=AXIAL_T2)).stacks)
    assert [choice.read for choice in choices] == [True, False]


def test_a_series_that_a_table_names_is_read_before_a_better_one_and_without_caution(tmp_path):
    write(tmp_path, "a", SeriesDescription="T1 SAG FS +C")
    write(tmp_path, "b", SeriesDescription="T1 SAG")
    named, other = choose(stacks_of(files_of(tmp_path, a=SAGITTAL_T1, b=None)).stacks)
    assert (named.read, named.caution) == (True, "")
    assert (other.read, other.reason.partition(";")[0]) == (False, "no role is given to it")
