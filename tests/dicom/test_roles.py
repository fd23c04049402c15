from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest

from benchmarks.robustness.dicom_files import AXIAL, CORONAL, SAGITTAL, tilted_axial, write_slice, write_stack
from lumbar_kernel.dicom.roles import main_plane, main_weighting, slice_planes, weighting_of
from lumbar_kernel.geometry import Plane
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.dicom.conftest import COUNTS, LATERAL, UPWARD, only, only_study, real_roles, write_table, xs


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A header that says nothing of its weighting."""
    return only(write_slice(tmp_path_factory.mktemp("plain") / "1.dcm"))


@pytest.mark.parametrize(
    ("times", "codes", "name"),
    [
        ((60, 3000, None), "SE", "T2"),
        ((59, 3000, None), "SE", None),
        ((45, 1600, None), "SE\\IR", "T2"),
        ((45, 1600, None), "SE", None),
        ((10, 1200, None), "SE", "T1"),
        ((None, 1200, None), "SE", "T1"),
        ((45, 1200, None), "SE", None),
        ((12, 2000, None), "SE", "other"),
        ((12, 1400, None), "SE", None),
        ((4, 99, None), "GR", "other"),
        ((4, 100, None), "GR", "T1"),
        ((45, 4000, 80), "IR", "T2"),
        ((9, 2200, 501), "IR", "T1"),
        ((9, 2200, 60), "IR", "other"),
        ((10, None, None), "SE", None),
    ],
)
def test_times_name_the_weighting_up_to_their_limits(plain, times, codes, name):
    echo, repetition, inversion = times
    header = replace(
        plain, echo_time=echo, repetition_time=repetition, inversion_time=inversion, scanning_sequence=codes
    )
    assert weighting_of(header).name == name


def test_image_type_names_the_weighting_before_times_and_after_the_description(plain):
    stir = replace(plain, image_type=("ORIGINAL", "PRIMARY", "STIR"), echo_time=10.0, repetition_time=600.0)
    assert weighting_of(stir).reason == "T2 by ImageType"
    assert weighting_of(replace(stir, series_description="T1")).reason == "T1 by SeriesDescription"


def test_a_third_of_the_headers_must_name_a_weighting_or_diffusion(plain):
    t2 = replace(plain, series_description="T2 sag", diffusion_b_value=0.0)
    diffusion = replace(t2, diffusion_b_value=800.0)
    assert main_weighting([t2, t2, plain, plain, plain]).name == "T2"
    assert main_weighting([t2, plain, plain]).name is None
    assert main_weighting([t2, t2, diffusion]).name == "T2"
    assert main_weighting([t2, t2, t2, diffusion, diffusion]).reason == "diffusion by DiffusionBValue"


def test_most_slices_make_the_plane_and_what_a_table_declares_comes_before_it(tmp_path):
    sagittal, axial, coronal = Plane.SAGITTAL, Plane.AXIAL, Plane.CORONAL
    assert [main_plane([sagittal] * 4 + [axial] * count) for count in (1, 2)] == [sagittal, None]
    tilted = [only(write_slice(tmp_path / f"{k}.dcm", orientation=tilted_axial(k))) for k in (45, 90, 90)]
    assert slice_planes(tilted, declared=axial) == [axial, coronal, coronal]
    assert slice_planes(tilted, declared=None) == [coronal, coronal, coronal]


@pytest.mark.parametrize(
    ("tags", "role"),
    [
        ({"SeriesDescription": "SAG T1 TSE"}, SAGITTAL_T1),
        ({"ProtocolName": "SAG T1 TSE"}, SAGITTAL_T1),
        ({"SeriesDescription": "Sag T2 T12-S1"}, SAGITTAL_T2),
        ({"SeriesDescription": "t2_tirm_sag"}, SAGITTAL_T2),
        ({"EchoTime": 95, "RepetitionTime": 3500}, SAGITTAL_T2),
        ({"EchoTime": 11, "RepetitionTime": 600}, SAGITTAL_T1),
        ({"EchoTime": 45, "RepetitionTime": 4000, "InversionTime": 160}, SAGITTAL_T2),
        ({"EchoTime": 9, "RepetitionTime": 2200, "InversionTime": 860}, SAGITTAL_T1),
    ],
)
def test_headers_name_the_role_where_no_table_does(tmp_path, tags, role):
    write_stack(tmp_path / "1" / "2", LATERAL, **tags)
    assert [series.role for series in only_study(tmp_path).series] == [role]


@pytest.mark.parametrize(
    ("orientation", "description"),
    [(CORONAL, "T2"), (AXIAL, "T1 ax"), (SAGITTAL, "PD sag"), (SAGITTAL, "3-plane loc T2"), (SAGITTAL, "localizer")],
)
def test_series_without_a_role_are_reported(tmp_path, orientation, description):
    write_stack(tmp_path / "1" / "2", LATERAL, orientation=orientation, SeriesDescription=description)
    study = only_study(tmp_path)
    assert study.series == ()
    assert [decision.role for decision in study.decisions] == [None]
    assert study.decisions[0].reason


@pytest.mark.parametrize(
    "tags",
    [
        *({"SeriesDescription": name} for name in ("SAG DIFFUSION b800 T2", "T2 Lokalisator sag", "Smartbrain T1")),
        *(
            {"SeriesDescription": name}
            for name in (
                *("T2 map sag", "Kalibrierung T1", "repérage T2", "t1_sub", "t2_dwi_sag"),
                *("T2 HASTE MYELO", "t2_myelogram", "T2 mieloRM", "T2 Myelographie", "T1 angio", "MR Angiografie T1"),
            )
        ),
        *(
            {"SeriesDescription": name, "EchoTime": 90, "RepetitionTime": 4000}
            for name in ("GRE prescan", "ASSET", "T2 ASSET cal", "HOS shim", "FF", "T2 FF %", "T1 mDixon_FF", "T2 PDFF")
        ),
        {"SeriesDescription": "T2 sag", "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]},
        {"SeriesDescription": "T2 sag", "ImageType": ["DERIVED", "SECONDARY", "SUBTRACTION"]},
        {"EchoTime": 90, "RepetitionTime": 4000, "DiffusionBValue": 800.0},
        {"EchoTime": 90, "RepetitionTime": 4000, "SequenceName": "*ep_b800t"},
        {"EchoTime": 4, "RepetitionTime": 8},
        {"SeriesDescription": "T2 sag", "ImageType": ["ORIGINAL", "PRIMARY", "T2 MAP", "T2"]},
        {"SeriesDescription": "T1 sag", "ImageType": ["DERIVED", "PRIMARY", "DIXON", "FAT"]},
        {"SeriesDescription": "PD+T2 sag", "EchoTime": 15, "RepetitionTime": 3500},
    ],
    ids=lambda tags: "-".join(map(str, tags.values())),
)
def test_localisers_diffusion_and_maps_have_no_role(tmp_path, tags):
    write_stack(tmp_path / "1" / "2", LATERAL, **tags)
    study = only_study(tmp_path)
    assert study.series == ()
    assert [decision.role for decision in study.decisions] == [None]
    assert study.decisions[0].reason


@pytest.mark.parametrize(
    ("orientation", "description", "role"),
    [
        (AXIAL, "t2_fl2d_tra", AXIAL_T2),
        (SAGITTAL, "T1 TIRM dark fluid", SAGITTAL_T1),
        (SAGITTAL, "sub-04_T2 sag", SAGITTAL_T2),
        (SAGITTAL, "T2 sag L1-S1 block", SAGITTAL_T2),
        (AXIAL, "Ax T2 FRFSE ASSET", AXIAL_T2),
        (SAGITTAL, "T1 SAG SHIM", SAGITTAL_T1),
        (SAGITTAL, "T2 SAG FF", SAGITTAL_T2),
        (SAGITTAL, "T2 tse sag prescan norm", SAGITTAL_T2),
        (SAGITTAL, "SAG T1 MYELOMA", SAGITTAL_T1),
        (SAGITTAL, "T2 sag Myelopathie", SAGITTAL_T2),
        (SAGITTAL, "T2 sag mielopatia", SAGITTAL_T2),
        (SAGITTAL, "SAG T1 HEMANGIOMA", SAGITTAL_T1),
        (SAGITTAL, "T2 sag Angiolipom", SAGITTAL_T2),
    ],
)
def test_a_weighting_that_is_named_outweighs_the_sequence(tmp_path, orientation, description, role):
    positions = LATERAL if orientation is SAGITTAL else UPWARD
    write_stack(tmp_path / "1" / "2", positions, orientation=orientation, SeriesDescription=description)
    assert [series.role for series in only_study(tmp_path).series] == [role]


@pytest.mark.parametrize("degrees", [30, 44, 46, 49])
@pytest.mark.parametrize("table", [True, False])
def test_steep_axial_blocks_are_axial(tmp_path, degrees, table):
    folder = tmp_path / "test_images" / "1" / "2"
    write_stack(folder, UPWARD, orientation=tilted_axial(degrees), SeriesDescription="T2")
    if table:
        write_table(tmp_path / "test_series_descriptions.csv", "1,2,Axial T2")
    study = only_study(tmp_path)
    assert [series.role for series in study.series] == [AXIAL_T2]
    assert len(study.series[0].slices) == 3


def test_blocks_up_to_the_limit_follow_the_other_slices_of_their_series(tmp_path):
    for number, (degrees, z) in enumerate([(5, 60), (5, 64), (5, 68), (-47, 0), (-47, 4), (55, 20)]):
        path = tmp_path / "1" / "2" / f"{number}.dcm"
        write_slice(path, position=(0, 0, z), orientation=tilted_axial(degrees), SeriesDescription="T2 ax")
    study = only_study(tmp_path)
    assert [len(series.slices) for series in study.series] == [5]
    assert "1 slices are not axial" in study.problems[0]


@pytest.mark.parametrize("degrees", [-41, -44, -46, -49])
def test_coronal_slices_along_the_sacrum_stay_coronal(tmp_path, degrees):
    write_stack(tmp_path / "1" / "2", UPWARD, orientation=tilted_axial(degrees), SeriesDescription="T2 obl")
    assert "coronal" in only_study(tmp_path).decisions[0].reason


def test_scout_in_three_planes_has_no_role(tmp_path):
    for i, orientation in enumerate([SAGITTAL, AXIAL, CORONAL]):
        write_slice(tmp_path / "1" / "2" / f"{i}.dcm", orientation=orientation, SeriesDescription="T2")
    study = only_study(tmp_path)
    assert study.series == ()
    assert "in several planes" in study.decisions[0].reason


def test_remnant_loses_to_a_fuller_series_but_counts_alone(tmp_path):
    write_stack(tmp_path / "1" / "2", LATERAL[:2], SeriesDescription="T2", SeriesInstanceUID="1.2")
    assert len(only_study(tmp_path).series) == 1
    write_stack(tmp_path / "1" / "3", LATERAL, SeriesDescription="T2", SeriesInstanceUID="1.3")
    study = only_study(tmp_path)
    assert [series.series_id for series in study.series] == ["3"]
    assert {item.series_id: item.reason for item in study.decisions}["2"].startswith("only 2 slices")


def test_a_short_series_counts_where_none_of_its_weighting_shows_its_places(tmp_path):
    blocks = (range(5), range(8, 10), range(13, 15))
    for name, block in zip("abc", blocks, strict=True):
        places = [(0.0, 0.0, 4.0 * k) for k in block]
        tags = {"SeriesDescription": "T2 ax", "SeriesInstanceUID": f"1.{ord(name)}"}
        write_stack(tmp_path / "1" / name, places, orientation=AXIAL, **tags)
    assert {series.series_id: len(series.slices) for series in only_study(tmp_path).series} == {"a": 5, "b": 2, "c": 2}


@pytest.mark.parametrize(("full", "is_kept"), [("T1", True), ("T2", False)])
def test_a_series_of_two_slices_yields_to_a_fuller_one_of_its_weighting(tmp_path, full, is_kept):
    between = [(-6.0, 0.0, 0.0), (2.0, 0.0, 0.0)]
    write_stack(tmp_path / "1" / "2", between, SeriesDescription="T2 sag", SeriesInstanceUID="1.2")
    write_stack(tmp_path / "1" / "3", LATERAL, SeriesDescription=f"{full} sag", SeriesInstanceUID="1.3")
    assert ("2" in {series.series_id for series in only_study(tmp_path).series}) is is_kept


def spine(*, canal: float, fat: float) -> np.ndarray:
    """A sagittal drawing of 300 × 300 mm: grey body, upright canal 13 mm wide, fat under the skin of the back."""
    image = np.full((150, 150), 400.0)
    image[:, 74:81] = canal
    image[:, 115:135] = fat
    image[:, 135:] = 10
    return (image + np.random.default_rng(0).normal(0, 10, image.shape)).clip(0).astype(np.uint16)


@pytest.mark.parametrize("t2_fat", [900, 60])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_stripped_sagittal_series_are_distinguished_by_their_fluid(tmp_path, t2_fat, turned):
    drawings = {"a": spine(canal=600, fat=t2_fat), "b": spine(canal=150, fat=1000)}
    for name, image in drawings.items():
        orientation = SAGITTAL
        if name in turned:  # some files store slices with the canal along their rows
            image, orientation = np.ascontiguousarray(image.T), (*SAGITTAL[3:], *SAGITTAL[:3])
        for i, position in enumerate(LATERAL):
            path = tmp_path / "1" / name / f"{i}.dcm"
            uid = f"1.{ord(name)}"
            write_slice(
                path, image, position=position, orientation=orientation, PixelSpacing=[2, 2], SeriesInstanceUID=uid
            )
    roles = {series.series_id: series.role for series in only_study(tmp_path).series}
    assert roles == {"a": SAGITTAL_T2, "b": SAGITTAL_T1}
    assert {name: only_study(tmp_path / "1" / name).series[0].role for name in "ab"} == roles


@pytest.mark.real
@pytest.mark.parametrize("study_id", COUNTS)
def test_real_studies_stripped_of_every_hint_get_the_roles_of_the_tables(real, tmp_path, study_id):
    (folder,) = real.glob(f"*_images/{study_id}")
    hints = ("SeriesDescription", "EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence", "ProtocolName")
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for hint in hints:
            if hint in dataset:
                del dataset[hint]
        target = tmp_path / study_id / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(target)
    study = only_study(tmp_path)
    assert study.study_id == study_id
    assert {series.series_id: series.role for series in study.series} == {
        series_id: real_roles()[series_id] for series_id in COUNTS[study_id]
    }


@pytest.mark.parametrize("odd", [{"SeriesDescription": "localizer"}, {"EchoTime": 100}, {"DiffusionBValue": 800.0}])
def test_one_odd_header_does_not_decide_what_a_stripped_series_is(tmp_path, odd):
    write_stack(tmp_path / "1" / "2", LATERAL)
    plain = only_study(tmp_path).decisions[0]
    write_slice(tmp_path / "1" / "2" / "3.dcm", position=LATERAL[2], orientation=SAGITTAL, InstanceNumber=3, **odd)
    assert (only_study(tmp_path).decisions[0].role, only_study(tmp_path).decisions[0].reason) == (
        plain.role,
        plain.reason,
    )
    assert "by its pixels" in plain.reason


@pytest.mark.parametrize("odd", [{"SeriesDescription": "localizer"}, {"SeriesDescription": "T1", "EchoTime": 5}])
def test_one_odd_header_does_not_decide_what_a_series_is(tmp_path, odd):
    write_stack(tmp_path / "1" / "2", LATERAL, SeriesDescription="T2 sag")
    write_slice(tmp_path / "1" / "2" / "3.dcm", position=LATERAL[2], orientation=SAGITTAL, InstanceNumber=3, **odd)
    study = only_study(tmp_path)
    assert [series.role for series in study.series] == [SAGITTAL_T2]
    assert xs(study) == [-8, -4, 0, 4, 8]
