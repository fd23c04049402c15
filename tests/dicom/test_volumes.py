import numpy as np
import pytest

from benchmarks.robustness.dicom_files import AXIAL, SAGITTAL, read_headers, write_slice, write_stack
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.inspection import inspect_study
from lumbar_kernel.dicom.volumes import SLAB_MM, is_volume
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.dicom.conftest import UPWARD, only_study, xs

THIN = [(float(x), 0.0, 0.0) for x in range(-30, 31)]
NAMED = {"SeriesDescription": "t2_spc_sag_p2_iso", "SeriesInstanceUID": "1.1"}


def headers(paths):
    return [header for path in paths for header in read_headers(path)]


@pytest.mark.parametrize(
    ("positions", "tags", "found"),
    [
        (THIN, {}, True),
        (THIN[::2], {}, False),
        (THIN[:24], {}, True),
        (THIN[:23], {}, False),
        ([(x, 0.9 * i, 0.0) for i, (x, _, _) in enumerate(THIN)], {"PixelSpacing": [1, 1]}, False),
    ],
    ids=["1 mm", "2 mm", "24 slices", "23 slices", "sheared"],
)
def test_a_volume_has_many_congruent_slices_close_together(tmp_path, positions, tags, found):
    assert is_volume(headers(write_stack(tmp_path, positions, **tags))) is found


@pytest.mark.parametrize(
    "odd",
    [{"pixels": np.ones((9, 9), np.uint16)}, {"PixelSpacing": [1, 1.01]}, {"orientation": (0.04, 1, 0, 0, 0, -1)}],
    ids=["matrix", "spacing", "direction"],
)
def test_slices_of_two_matrices_spacings_or_directions_are_no_volume(tmp_path, odd):
    paths = write_stack(tmp_path, THIN)
    last = write_slice(tmp_path / "odd.dcm", position=(31, 0, 0), **{"orientation": SAGITTAL, **odd})
    assert not is_volume(headers([*paths, last]))


@pytest.mark.parametrize("description", ["t2_spc_sag_p2_iso", "T1 vibe sag"])
def test_thin_sagittal_slices_are_averaged_to_the_usual_thickness(tmp_path, description):
    folder = tmp_path / "1" / "2"
    for number, position in enumerate(THIN):
        image = np.full((6, 8), 100 + 10 * number, np.uint16)
        image[0, 0] = 0  # the weakest signal stays what it is
        write_slice(
            folder / f"{number}.dcm",
            image,
            position=position,
            orientation=SAGITTAL,
            InstanceNumber=number + 1,
            **{**NAMED, "SeriesDescription": description},
        )
    study = only_study(tmp_path)
    slices = study.series[0].slices
    places = np.array([item.plane.origin[0] for item in slices])
    assert np.allclose(np.diff(places), SLAB_MM)
    assert len(slices) == 15
    for item in slices:
        assert np.allclose(item.pixels[1:], 100 + 10 * (item.plane.origin[0] - THIN[0][0]))
        assert abs(item.instance_number - 1 - (item.plane.origin[0] - THIN[0][0])) <= 0.5


def test_no_slab_reaches_across_slices_that_cannot_be_read(tmp_path):
    paths = write_stack(tmp_path / "1" / "2", THIN[:60], **NAMED)
    for path in paths[26:36]:
        path.write_bytes(path.read_bytes()[:-9])
    slices = only_study(tmp_path).series[0].slices
    places = np.array([item.plane.origin[0] for item in slices])
    assert places.tolist() == [*np.arange(-28.5, -8, 4), *np.arange(7.5, 28, 4)]
    assert [item.instance_number for item in slices] == [round(place + 31.5) for place in places]


@pytest.mark.parametrize("apart", [0.5, 1.0])
def test_usual_slices_scanned_twice_a_little_apart_are_no_volume_and_all_read(tmp_path, apart):
    twice = [(float(x + shift), 0.0, 0.0) for x in range(-28, 29, 4) for shift in (0, apart)]
    assert not is_volume(headers(write_stack(tmp_path / "1" / "2", twice, SeriesDescription="T2 sag")))
    assert xs(only_study(tmp_path)) == [x for x, _, _ in twice]


def test_a_volume_that_lost_a_few_slices_is_averaged_still(tmp_path):
    left = [place for place in THIN if place[0] not in (-20, -3, 11)]
    write_stack(tmp_path / "1" / "2", left, **NAMED)
    assert len(only_study(tmp_path).series[0].slices) == 15


def test_a_volume_too_narrow_for_a_slab_is_read_as_it_is(tmp_path):
    narrow = [(0.0625 * k, 0.0, 0.0) for k in range(24)]
    write_stack(tmp_path / "1" / "2", narrow, **NAMED)
    assert xs(only_study(tmp_path)) == [x for x, _, _ in narrow]


@pytest.mark.parametrize(("down", "is_used"), [(20, False), (3, False), (2, True)])
def test_a_volume_below_the_series_that_is_read_gives_no_axial_slices(tmp_path, down, is_used):
    write_stack(tmp_path / "1" / "2", THIN[::4], SeriesDescription="T2 sag LWS", SeriesInstanceUID="1.2")
    below = [(x, y, z - down) for x, y, z in THIN]
    write_stack(tmp_path / "1" / "3", below, **{**NAMED, "SeriesDescription": "T2 space sag SSFSE"})
    study = only_study(tmp_path)
    assert [series.series_id for series in study.series] == ["2"]
    assert (study.volume is not None) is is_used


def test_what_remains_of_a_volume_is_shared_between_its_ends(tmp_path):
    write_stack(tmp_path / "1" / "2", THIN[:26], **NAMED)
    assert xs(only_study(tmp_path)) == [-27.5, -23.5, -19.5, -15.5, -11.5, -7.5]


def test_the_volume_goes_along_only_where_there_is_no_axial_series(tmp_path):
    write_stack(tmp_path / "1" / "2", THIN, **NAMED)
    study = only_study(tmp_path)
    assert study.volume is not None
    assert len(study.volume.slices) == len(THIN)
    assert study.volume.series_id == "2 reformatted"
    roles = {item.series_id: (item.role, item.reason) for item in study.decisions}
    assert roles["2"] == (SAGITTAL_T2, "T2 by SeriesDescription; its slices are averaged to 4 mm")
    assert roles["2 reformatted"] == (
        AXIAL_T2,
        "reformatted at the disc levels from sagittal series 2, steps of 1.0 mm",
    )
    write_stack(tmp_path / "1" / "3", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax", SeriesInstanceUID="1.2")
    assert only_study(tmp_path).volume is None


@pytest.mark.parametrize("tags", [{"SeriesDescription": "T1 vibe sag"}, {"width": 50}])
def test_neither_t1_nor_a_narrow_volume_is_reformatted(tmp_path, tags):
    width = tags.pop("width", 61)
    write_stack(tmp_path / "1" / "2", THIN[:width], **{**NAMED, **tags})
    study = only_study(tmp_path)
    assert study.volume is None
    assert study.series[0].role in (SAGITTAL_T1, SAGITTAL_T2)


def test_a_volume_that_another_series_outranks_still_gives_axial_slices(tmp_path):
    write_stack(tmp_path / "1" / "2", THIN[::4], SeriesDescription="T2 sag", SeriesInstanceUID="1.2")
    write_stack(tmp_path / "1" / "3", THIN, **{**NAMED, "ImageType": ["DERIVED", "SECONDARY"]})
    study = only_study(tmp_path)
    assert [series.series_id for series in study.series] == ["2"]
    assert study.volume is not None
    assert study.volume.series_id == "3 reformatted"


def test_axial_slices_come_from_the_volume_that_is_read_rather_than_from_one_that_it_outranks(tmp_path):
    write_stack(tmp_path / "1" / "2", THIN[:51], **{**NAMED, "ImageType": ["DERIVED", "SECONDARY"]})
    write_stack(tmp_path / "1" / "3", THIN[:51], **{**NAMED, "SeriesInstanceUID": "1.3"})
    study = only_study(tmp_path)
    assert [study.series[0].series_id, study.volume.series_id] == ["3", "3 reformatted"]


def test_inspect_names_what_would_be_reformatted(tmp_path):
    write_stack(tmp_path / "1" / "2", THIN, **NAMED)
    (files,) = find_studies(tmp_path)
    for pixels in (False, True):
        found = inspect_study(files, pixels=pixels)
        assert AXIAL_T2 not in found.missing
        assert [item.series_id for item in found.series if item.role == AXIAL_T2] == ["2 reformatted"]
        assert found.as_text().count("slices, ") == 1  # of the volume; the reformatted ones have none yet
        assert "Axial T2: reformatted at the disc levels from sagittal series 2" in found.as_text()


def test_a_broken_slice_of_a_volume_costs_that_slice(tmp_path):
    paths = write_stack(tmp_path / "1" / "2", THIN, **NAMED)
    paths[30].write_bytes(paths[30].read_bytes()[:-9])
    study = only_study(tmp_path)
    assert len(study.volume.slices) == len(THIN) - 1
    assert len(study.series[0].slices) == 15
