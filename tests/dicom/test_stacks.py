"""The series of a study, and the contrasts of each, as stacks."""

from __future__ import annotations

import pytest

from benchmarks.robustness.dicom_files import AXIAL, SAGITTAL, write_slice, write_stack
from lumbar_kernel.dicom.stacks import stacks_of
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T2
from lumbar_kernel.study import SeriesFiles
from tests.dicom.conftest import LATERAL, UPWARD

ELSEWHERE = [(x + 100, y, z) for x, y, z in LATERAL]


def sizes(found):
    return {stack.series_id: len(stack.headers) for stack in found.stacks}


@pytest.fixture
def sorted_of(tmp_path):
    """Writes parts of one series into its folder, and sorts it as one that a table calls sagittal T2."""

    def sorted_of(*parts, role=SAGITTAL_T2):
        for number, (places, tags) in enumerate(parts):
            for path in write_stack(tmp_path / str(number), places, **tags):
                path.rename(tmp_path / f"{number}-{path.name}")
        return stacks_of([SeriesFiles("2", role, tuple(sorted(tmp_path.glob("*.dcm"))))])

    return sorted_of


KINDS = [{"ImageType": ["ORIGINAL", "PRIMARY", kind]} for kind in "MR"]


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"EchoTime": 20}, {"EchoTime": 90}, ["EchoTime 20", "EchoTime 90"]),
        (*KINDS, ["ORIGINAL/PRIMARY/M", "ORIGINAL/PRIMARY/R"]),
    ],
)
def test_a_series_that_shows_half_of_its_places_twice_is_two_contrasts(sorted_of, one, other, names):
    repeated = [*LATERAL[:3], *ELSEWHERE[3:]]
    assert sizes(sorted_of((LATERAL, one), (repeated, other))) == {f"2 {name}": 5 for name in names}


def test_a_series_that_shows_few_places_twice_is_one_contrast(sorted_of):
    repeated = [*LATERAL[:2], *ELSEWHERE[2:]]
    found = sorted_of((LATERAL, {"EchoTime": 20}), (repeated, {"EchoTime": 90}))
    assert sizes(found) == {"2": 8}
    assert found.problems == ("series 2: 2 slices repeat the place of another one, left out",)


def test_a_table_gives_its_role_to_the_slices_of_its_plane_and_others_are_left_out(sorted_of):
    found = sorted_of((LATERAL, {}), (UPWARD, {"orientation": AXIAL}))
    assert sizes(found) == {"2": 5}
    assert found.problems == ("series 2: 3 slices are not sagittal, left out",)


def test_a_series_of_a_table_is_no_remnant(tmp_path):
    write_stack(tmp_path / "few", UPWARD[:2], orientation=AXIAL)
    write_stack(tmp_path / "many", UPWARD, orientation=AXIAL, SeriesDescription="T2")
    roles = {"few": AXIAL_T2, "many": None}
    found = stacks_of([SeriesFiles(name, role, tuple((tmp_path / name).iterdir())) for name, role in roles.items()])
    assert sizes(found) == {"few": 2, "many": 3}


@pytest.mark.parametrize(("odd", "refused"), [(2, 0), (3, 1)])
def test_most_headers_must_name_another_region(tmp_path, odd, refused):
    paths = [
        write_slice(
            tmp_path / f"{k}.dcm",
            position=place,
            orientation=SAGITTAL,
            SeriesDescription="T2",
            BodyPartExamined="HEAD" if k < odd else "SPINE",
        )
        for k, place in enumerate(LATERAL[:4])
    ]
    assert len(stacks_of([SeriesFiles("2", None, tuple(paths))]).refused) == refused
