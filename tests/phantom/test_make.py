from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel import schema
from lumbar_kernel.geometry import Plane, plane_of
from lumbar_kernel.phantom import PhantomStudy, draw_patient, make_phantom, make_truth
from lumbar_kernel.phantom.write import coordinate_rows

TIME_LIMIT_S = 12.0  # about 1.1 s on a free core; the bound only catches an order of magnitude

MEMORY_LIMIT_MB = 400.0


def test_a_volume_replaces_sagittal_t2_and_nothing_else(phantom):
    volume = make_phantom(8, study_id="4200001", volume=True)
    for one, other in zip(phantom.study.series, volume.study.series, strict=True):
        if one.role == schema.SAGITTAL_T2:
            places = np.array([item.plane.centre for item in other.slices])
            steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
            assert steps.max() <= 1.0
            assert len(other.slices) > 70
        else:
            assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one.slices, other.slices, strict=True))
    assert np.array_equal(phantom.truth.grades, volume.truth.grades)


def test_the_water_image_of_a_dixon_sequence_lacks_fat_and_nothing_else(phantom):
    role = schema.SAGITTAL_T1
    water = make_phantom(8, study_id="4200001", roles=(role,), fat_share={role: 0.0}).study.slices(role)
    plain = phantom.study.slices(role)
    item, other = plain[len(plain) // 2], water[len(plain) // 2]
    assert np.percentile(other.pixels, 99) < 0.8 * np.percentile(item.pixels, 99)
    assert np.corrcoef(item.pixels.ravel(), other.pixels.ravel())[0, 1] > 0.2


def test_same_seed_gives_same_pixels_and_truth_for_any_roles(phantom: PhantomStudy) -> None:
    again = make_phantom(8, study_id="4200001", roles=(schema.SAGITTAL_T2,))
    for one, two in zip(phantom.study.slices(schema.SAGITTAL_T2), again.study.slices(schema.SAGITTAL_T2), strict=True):
        assert np.array_equal(one.pixels, two.pixels)
        assert one.instance_number == two.instance_number
    assert again.study.slices(schema.AXIAL_T2) == ()
    assert np.array_equal(phantom.truth.canal, again.truth.canal)
    assert np.array_equal(phantom.truth.grades, make_truth(8).grades)


def test_seeds_differ_and_roles_are_checked() -> None:
    assert not np.allclose(make_truth(1).canal, make_truth(2).canal)
    with pytest.raises(ValueError, match="Sagittal T3"):
        make_phantom(1, study_id="1", roles=("Sagittal T3",))


def test_series_lie_in_their_planes_and_are_sorted(phantom: PhantomStudy) -> None:
    for series in phantom.study.series:
        axis = 2 if series.role == schema.AXIAL_T2 else 0
        wanted = Plane.AXIAL if series.role == schema.AXIAL_T2 else Plane.SAGITTAL
        assert all(plane_of(item.plane.normal) is wanted for item in series.slices)
        assert all(item.pixels.shape == item.plane.shape for item in series.slices)
        places = [item.plane.centre[axis] for item in series.slices]
        assert np.corrcoef(places, np.arange(len(places)))[0, 1] > 0.95
        numbers = [item.instance_number or 0 for item in series.slices]
        assert len(set(numbers)) == len(places)
        assert min(numbers) >= 1


def test_truth_is_ordered_like_a_patient(phantom: PhantomStudy) -> None:
    truth = phantom.truth
    assert np.all(np.diff(truth.canal[:, 2]) < 0)  # L1/L2 is uppermost
    assert np.all(truth.foramina[:, 0, 0] - truth.foramina[:, 1, 0] > 20)  # left is +x in LPS
    assert np.all(truth.recesses[:, 0, 0] > truth.recesses[:, 1, 0])
    assert np.allclose(np.linalg.norm(truth.disc_normal, axis=1), 1)
    depth = np.linalg.norm(truth.canal - truth.disc_margin, axis=1)
    assert np.all((depth > 2) & (depth < 14))


def test_truth_points_lie_inside_the_frames_of_their_series() -> None:
    rows = [row for seed in range(3) for row in coordinate_rows(make_phantom(seed, study_id="1"))]
    counts = {name: sum(row[3] == name for row in rows) for name in schema.CONDITION_NAMES.values()}
    assert counts["Spinal Canal Stenosis"] == 15
    assert counts["Left Neural Foraminal Narrowing"] >= 14
    assert counts["Right Subarticular Stenosis"] >= 12  # an axial stack may miss the upper discs


def patch_mean(phantom: PhantomStudy, role: str, point: np.ndarray) -> float:
    item = min(phantom.study.slices(role), key=lambda s: abs(float(s.plane.distance(point))))
    row, column = np.rint(item.plane.to_pixel(point)).astype(int)
    return float(item.pixels[row - 1 : row + 2, column - 1 : column + 2].mean())


def test_open_canal_is_brighter_than_its_disc_on_t2(phantom: PhantomStudy) -> None:
    for role in (schema.SAGITTAL_T2, schema.AXIAL_T2):
        for level in range(1, 5):  # at L1/L2 the cord fills much of the sac
            if phantom.truth.grades[schema.row_index(schema.CANAL, level)] == 0:
                inside = phantom.truth.disc_margin[level] - [0, 5, 0]
                assert patch_mean(phantom, role, phantom.truth.canal[level]) > patch_mean(phantom, role, inside)


def test_worse_left_mechanisms_worsen_left_grades_only() -> None:
    anatomy = draw_patient(9)
    facet, side = anatomy.facet.copy(), anatomy.side_bulge.copy()
    facet[3], side[3], facet[3, 0], side[3, 0] = 0, 0.5, 10, 16
    truth = make_truth(9, anatomy=replace(anatomy, facet=facet, side_bulge=side))
    for group in (schema.FORAMINAL, schema.SUBARTICULAR):
        left, right = (truth.scores[schema.row_index(group, 3, s)] for s in range(2))
        assert left > right
    assert truth.grades[schema.row_index(schema.FORAMINAL, 3, 0)] == 2
    assert truth.grades[schema.row_index(schema.FORAMINAL, 3, 1)] == 0


def test_a_left_mechanism_changes_left_slices_only(phantom: PhantomStudy) -> None:
    side, facet = phantom.anatomy.side_bulge.copy(), phantom.anatomy.facet.copy()
    side[3, 0], facet[3, 0] = 9, 6
    role = schema.SAGITTAL_T1
    worn = replace(phantom.anatomy, side_bulge=side, facet=facet)
    worse = make_phantom(8, study_id="4200001", roles=(role,), anatomy=worn)
    point = phantom.truth.foramina[3]
    for one, two in zip(phantom.study.slices(role), worse.study.slices(role), strict=True):
        to_left, to_right = (abs(float(one.plane.distance(p))) for p in point)
        if to_right < 6:
            assert np.array_equal(one.pixels, two.pixels)
        if to_left < 2.5:
            assert not np.array_equal(one.pixels, two.pixels)


def test_wider_bulge_narrows_the_canal() -> None:
    anatomy = draw_patient(4)
    row = schema.row_index(schema.CANAL, 3)
    bulges = [np.full(5, size) for size in (0.0, 3.0, 7.0)]
    scores = [make_truth(4, anatomy=replace(anatomy, bulge=bulge)).scores[row] for bulge in bulges]
    assert scores[0] < scores[1] < scores[2]


def test_grade_marginals_are_sane_and_balanced_phantoms_are_worse() -> None:
    grades = np.array([make_truth(seed).grades for seed in range(1000, 1040)])
    worse = np.array([make_truth(seed, balanced=True).grades for seed in range(1000, 1016)])
    for group, wanted in ((schema.CANAL, 0.878), (schema.FORAMINAL, 0.780), (schema.SUBARTICULAR, 0.714)):
        columns = [schema.group_of(row) == group for row in schema.ROWS]
        assert np.mean(grades[:, columns] == 0) == pytest.approx(wanted, abs=0.10)
        assert np.mean(worse[:, columns] == 2) > 1.4 * np.mean(grades[:, columns] == 2)


def test_a_study_costs_little_time_and_memory() -> None:
    code = (
        "import re, time\n"
        "from lumbar_kernel.phantom import make_phantom\n"
        "start = time.process_time()\n"
        "make_phantom(77, study_id='1')\n"
        # ru_maxrss would count the parent's memory too: Linux carries it over from before the exec
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(time.process_time() - start, int(peak) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < TIME_LIMIT_S
    assert megabytes < MEMORY_LIMIT_MB
