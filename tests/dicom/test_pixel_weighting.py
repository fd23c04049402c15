from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.robustness.exam_changes import stripped
from benchmarks.robustness.hospital import VENDORS, exam_of, write_exam
from lumbar_kernel.dicom import pixel_weighting
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.pixel_weighting import MAX_PAIRED, axial_weightings, sagittal_weightings
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.phantom import make_phantom
from lumbar_kernel.phantom.acquire import acquire
from lumbar_kernel.phantom.contrast import draw_protocol
from lumbar_kernel.phantom.make import make_spine, paint_patient, prescriptions
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.conftest import AXIAL, make_slice

PLAIN, STIR, ODD = "plain T2", "STIR", "relaxation times far from the literature"
CASES = {704: PLAIN, 718: STIR, 715: STIR, 710: PLAIN, 9: ODD}


def axial_t1(seed, phantom):
    """Axial T1 slices at the places of a phantom's axial T2 series."""
    spine, rng = make_spine(seed, balanced=True), np.random.default_rng(seed)
    protocol = replace(
        draw_protocol(rng, SAGITTAL_T1, field=phantom.protocols[0].magnetic_field_strength), role=AXIAL_T2
    )
    painted = paint_patient(seed, spine)
    plans = prescriptions(seed, spine.frame, AXIAL_T2)
    return tuple(item for plan in plans for item in acquire(painted, plan, protocol, "1", rng)[0].slices)


@pytest.fixture(scope="module", params=CASES, ids=lambda seed: f"{CASES[seed]}, {seed}")
def scanned(request):
    """A phantom study whose last series is axial T1, named axial T2; sagittal T2 with and without bright fat."""
    seed = request.param
    contrast = "perturbed" if CASES[seed] is ODD else "physics"
    phantom = make_phantom(seed, study_id="1", balanced=True, contrast=contrast)
    if CASES[seed] is not ODD:
        suppressed = any(protocol.inversion_time is not None for protocol in phantom.protocols)
        assert suppressed == (CASES[seed] is STIR)
    first = next(series for series in phantom.study.series if series.role == AXIAL_T2)
    lone = tuple(series for series in phantom.study.series if series.role != AXIAL_T2)
    both = (
        replace(first, slices=phantom.study.slices(AXIAL_T2)),
        replace(first, series_id="t1", slices=axial_t1(seed, phantom)),
    )
    return replace(phantom.study, series=(*lone, *both))


def test_of_two_stripped_axial_series_the_one_with_bright_fluid_is_read(scanned, tmp_path):
    exam = exam_of(scanned, VENDORS["siemens"])
    *_, t2, t1 = exam
    write_exam(stripped(exam), tmp_path)
    (files,) = find_studies(tmp_path)
    study = read_study(files)
    roles = {item.series_id: (item.role, item.reason) for item in study.decisions}
    assert roles[t2][0] == AXIAL_T2
    assert roles[t1] == (None, "T1 by its pixels, no role wants it")
    assert roles["t1"][0] == SAGITTAL_T1
    assert roles["t2"][0] == SAGITTAL_T2


def test_the_order_of_the_series_decides_nothing(scanned):
    sagittal = {"T1": scanned.slices(SAGITTAL_T1), "T2": scanned.slices(SAGITTAL_T2)}
    t2, t1 = (series.slices for series in scanned.series[-2:])
    assert axial_weightings([t2, t1], sagittal, known=[None, None]) == ["T2", "T1"]
    assert axial_weightings([t1, t2], sagittal, known=[None, None]) == ["T1", "T2"]
    pair = [sagittal["T2"], sagittal["T1"]]
    assert sagittal_weightings(pair, known=[None, None], axial=[t1, t2]) == ["T2", "T1"]


def test_what_headers_name_stays(scanned):
    sagittal = {"T1": scanned.slices(SAGITTAL_T1), "T2": scanned.slices(SAGITTAL_T2)}
    t2, t1 = (series.slices for series in scanned.series[-2:])
    assert axial_weightings([t2, t1], sagittal, known=["T1", "T2"]) == ["T1", "T2"]


def test_two_axial_series_of_one_weighting_are_both_t2(scanned):
    sagittal = {"T1": scanned.slices(SAGITTAL_T1), "T2": scanned.slices(SAGITTAL_T2)}
    t2 = scanned.series[-2].slices
    assert axial_weightings([t2[::2], t2[1::2]], sagittal, known=[None, None]) == ["T2", "T2"]
    assert axial_weightings([t2], {}, known=[None]) == ["T2"]


@pytest.mark.parametrize(("apart", "names"), [(0, ["T2", "T1"]), (3, ["T2", "T1"]), (4, ["T2", "T2"])])
def test_axial_series_are_compared_only_where_sagittal_t2_lies_beside_t1(apart, names):
    noise = np.random.default_rng(0).normal(0, 5, (80, 80))
    fluid = np.abs(np.arange(80) - 40) < 4  # along the body, at one depth
    bright = {"T2": np.where(fluid, 900, 100), "T1": np.where(fluid, 100, 300)}
    sagittal = {name: (np.tile(line, (80, 1)) + noise).astype(np.float32) for name, line in bright.items()}
    places = {"T1": (0, -40, 40), "T2": (apart, -40, 40)}
    references = {name: [make_slice(origin=places[name], shape=(80, 80), pixels=sagittal[name])] for name in places}
    axial = [
        [make_slice(AXIAL, origin=(-40, -40, 5 * k), shape=(80, 80), pixels=sagittal[name].T.copy()) for k in range(6)]
        for name in ("T2", "T1")
    ]
    assert axial_weightings(axial, references, known=[None, None]) == names


def test_each_slice_is_blurred_once_however_often_it_is_compared(monkeypatch):
    blurred, plain = [], cv2.blur
    monkeypatch.setattr(cv2, "blur", lambda image, *rest: blurred.append(id(image)) or plain(image, *rest))
    sagittal = [[make_slice(origin=(4.0 * k, 0, 0), shape=(60, 50)) for k in range(3)] for _ in range(3)]
    axial = [[make_slice(AXIAL, origin=(-10, 0, -5 * k), shape=(50, 40)) for k in range(n)] for n in (6, 2, 5)]
    sagittal_weightings(sagittal, known=[None] * 3, axial=axial)
    assert len(blurred) == len(set(blurred)) == 3 * 3 + 6 + 5


def test_a_blank_series_changes_no_weighting_of_the_others(scanned):
    t1, t2, axial = scanned.slices(SAGITTAL_T1), scanned.slices(SAGITTAL_T2), scanned.series[-2].slices
    blank = [replace(item, pixels=np.zeros_like(item.pixels)) for item in t1]
    assert sagittal_weightings([t1, t2, blank], known=[None] * 3, axial=[axial])[:2] == ["T1", "T2"]


def test_a_blank_series_is_compared_with_none(scanned, tmp_path):
    exam = exam_of(scanned, VENDORS["siemens"])
    exam["blank"] = [
        replace(image, pixels=np.zeros_like(image.pixels), tags=image.tags | {"SeriesInstanceUID": "1.9"})
        for image in exam["t1"]
    ]
    write_exam(stripped(exam), tmp_path)
    (files,) = find_studies(tmp_path)
    roles = {item.series_id: (item.role, item.reason) for item in read_study(files).decisions}
    assert roles["blank"] == (None, "its headers name no weighting, and its pixels could not be compared")
    assert (roles["t1"][0], roles["t2"][0]) == (SAGITTAL_T1, SAGITTAL_T2)


@pytest.mark.parametrize("known", [{}, {5: "T1"}, {0: "T2", 5: "T1"}])
def test_the_pairs_of_many_series_do_not_grow_with_the_square(monkeypatch, known):
    asked = []

    def gain(one, other, axial):
        asked.append((one, other))
        return float(one[0].pixels.mean() - other[0].pixels.mean())

    monkeypatch.setattr(pixel_weighting, "_gain", gain)
    bright = [(1.0, 0.0, 0.3)[number % 3] for number in range(30)]
    series = [[make_slice(pixels=np.full((40, 30), 10 + k, np.float32))] * (1 + n) for n, k in enumerate(bright)]
    names = sagittal_weightings(series, known=[known.get(number) for number in range(30)])
    assert names == ["T2" if k > 0.5 else "T1" for k in bright]
    assert len(asked) == MAX_PAIRED * (MAX_PAIRED - 1) / 2 + 30 - MAX_PAIRED
