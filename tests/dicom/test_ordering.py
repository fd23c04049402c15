from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.robustness.dicom_files import AXIAL, SAGITTAL, tilted_axial, write_slice, write_stack
from lumbar_kernel.dicom.ordering import distances, without_duplicates
from tests.dicom.conftest import LATERAL, UPWARD, only, only_study, xs


def test_slices_are_sorted_by_position_not_by_instance(tmp_path):
    shuffled = [LATERAL[i] for i in (3, 0, 4, 2, 1)]
    write_stack(tmp_path / "1" / "2", shuffled, SeriesDescription="T1")
    assert xs(only_study(tmp_path)) == [-8, -4, 0, 4, 8]


@pytest.mark.parametrize("orientation", [SAGITTAL, (0, -1, 0, 0, 0, -1)])
def test_sagittal_slices_run_right_to_left_however_they_were_acquired(tmp_path, orientation):
    for name, positions in (("a", LATERAL), ("b", LATERAL[::-1])):
        write_stack(tmp_path / name / "2", positions, orientation=orientation, SeriesDescription="T1")
        assert xs(only_study(tmp_path / name)) == [-8, -4, 0, 4, 8]


def test_axial_slices_rise_whichever_way_their_normal_points(tmp_path):
    for name, orientation in (("a", AXIAL), ("b", (-1, 0, 0, 0, 1, 0))):
        write_stack(tmp_path / name / "2", UPWARD[::-1], orientation=orientation, SeriesDescription="T2")
        study = only_study(tmp_path / name)
        assert [item.plane.origin[2] for item in study.series[0].slices] == [0, 4, 8]


@pytest.mark.parametrize("tilt", [20, 6])
def test_tilted_axial_blocks_stay_together_although_they_overlap_in_height(tmp_path, tilt):
    low, high = [(0.0, 0.0, z) for z in (0.0, 4.0, 8.0)], [(0.0, 0.0, z) for z in (6.0, 10.0, 14.0)]
    for name, positions, degrees in (("high", high, 0), ("low", low, tilt)):
        for i, position in enumerate(positions):
            path = tmp_path / "1" / "2" / f"{name}{i}.dcm"
            write_slice(path, position=position, orientation=tilted_axial(degrees), SeriesDescription="T2")
    assert [item.plane.origin[2] for item in only_study(tmp_path).series[0].slices] == [0, 4, 8, 6, 10, 14]


@pytest.mark.parametrize(
    ("slices", "heights"),
    [
        ([(0, 0), (20, 0), (40, 0), (4, 20), (8, 20), (12, 20)], [4, 8, 12, 0, 20, 40]),
        ([(0, 0), (20, 0), (4, 4), (30, 2.8)], [0, 20, 4, 30]),  # the last is nearer to the second block
    ],
)
def test_slices_join_the_block_of_the_nearest_tilt_and_blocks_rise_by_their_mean_height(tmp_path, slices, heights):
    for number, (height, degrees) in enumerate(slices):
        path, tags = tmp_path / "1" / "2" / f"{number}.dcm", {"SeriesDescription": "T2"}
        write_slice(path, position=(0, 0, height), orientation=tilted_axial(degrees), **tags)
    assert [item.plane.origin[2] for item in only_study(tmp_path).series[0].slices] == heights


def test_slices_have_a_distance_along_their_normals_where_they_are_about_parallel(tmp_path):
    own = only(write_slice(tmp_path / "1.dcm"))
    others = [
        only(write_slice(tmp_path / f"{k}.dcm", position=(3, 0, 4), orientation=tilted_axial(k))) for k in (0, 4, 10)
    ]
    ((along, within),) = distances([own], others)
    assert np.isfinite(along).tolist() == [True, True, False]
    assert (along[0], within[0]) == pytest.approx((4, 3))


def test_a_slice_without_number_gives_way_to_a_numbered_one_at_its_place(tmp_path):
    unnamed = only(write_slice(tmp_path / "first.dcm", InstanceNumber=None))
    numbered = only(write_slice(tmp_path / "second.dcm", InstanceNumber=7))
    assert without_duplicates([unnamed, numbered]) == {numbered: [unnamed]}


def test_a_repeated_slice_is_dropped_for_the_lower_instance(tmp_path):
    write_stack(tmp_path / "1" / "2", [*LATERAL, LATERAL[2]], SeriesDescription="T1")
    study = only_study(tmp_path)
    assert [item.instance_number for item in study.series[0].slices] == [1, 2, 3, 4, 5]
    assert "1 slices repeat" in study.problems[0]


def test_copies_are_found_quickly_among_many_slices(tmp_path):
    """Compared one by one in Python, a thousand slices took 3 s."""
    header = only(write_slice(tmp_path / "1.dcm"))
    turned = only(write_slice(tmp_path / "2.dcm", orientation=tilted_axial(10)))

    def at(z, number, *, of=header):
        plane = replace(of.plane, origin=np.array([0.0, 0.0, z]))
        return replace(of, plane=plane, instance_number=number)

    slices = [at(0.5 * k, k) for k in range(1500)]
    copies = {3: at(1.5, 2000), 7: at(3.54, 2001)}
    apart = [at(4.06, 2002), at(4.0, 2003, of=turned)]
    start = time.process_time()
    found = without_duplicates([*copies.values(), *apart, *slices])
    assert time.process_time() - start < 2.0
    assert [*found] == [*slices, *apart]
    assert {number: found[slices[number]] for number in copies} == {number: [copy] for number, copy in copies.items()}
    assert sum(map(len, found.values())) == 2
