from dataclasses import replace

import numpy as np
import pytest

from benchmarks.robustness.hospital import VENDORS, exam_of, write_exam
from benchmarks.robustness.variants import SAME, Variant, variants, write_variant
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.unpacking import unpacked
from lumbar_kernel.schema import SERIES_DESCRIPTIONS

QUICK = (
    "names as ge",
    "names as timing alone",
    "instance numbers shuffled",
    "deflated",
    "RescaleIntercept -200",
    "enhanced multi-frame",
    "interrupted copies",
    "one series UID, flat",
    "T1 FS +C",
    "T1 repeated after motion",
    "scout that no word names",
    "Dixon T2 in one series, Philips",
    "axial T1 beside axial T2",
    "thoracic station that no word names",
    "two patients with one study UID",
)
KEEPING = [variant for variant in variants() if variant.expected == SAME and variant.kind != "tilt"]


@pytest.fixture(scope="module")
def small(phantom):
    """A phantom with every second row and column: enough to tell what is read."""

    def coarse(item):
        plane = item.plane
        fewer = replace(
            plane,
            row_spacing=2 * plane.row_spacing,
            column_spacing=2 * plane.column_spacing,
            shape=tuple(item.pixels[::2, ::2].shape),
        )
        return replace(item, plane=fewer, pixels=item.pixels[::2, ::2].copy())

    series = (replace(item, slices=tuple(map(coarse, item.slices))) for item in phantom.study.series)
    return replace(phantom.study, series=tuple(series))


def seen(data):
    """By study the slices of each role: places, and pixels with their offset and scale taken out."""
    with unpacked(data) as (opened, _):
        studies = [read_study(files) for files in find_studies(opened)]
    return [
        {
            role: sorted(
                (
                    tuple(np.round(item.plane.centre, 2).tolist()),
                    round(float(item.pixels.mean() / item.pixels.max()), 4),
                )
                for item in study.slices(role)
            )
            for role in SERIES_DESCRIPTIONS
        }
        for study in studies
    ]


def check(variant: Variant, study, folder):
    write_exam(exam_of(study, VENDORS["siemens"]), folder / "plain")
    found = seen(write_variant(study, variant, folder / "variant"))
    assert found == seen(folder / "plain") * variant.people


def test_there_are_at_least_sixty_under_names_of_their_own():
    names = [variant.name for variant in variants()]
    assert len(names) == len(set(names))
    assert len(names) >= 60


@pytest.mark.parametrize("variant", [item for item in KEEPING if item.name in QUICK], ids=lambda item: item.name)
def test_the_same_slices_are_read_in_the_same_roles(small, tmp_path, variant):
    check(variant, small, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [item for item in KEEPING if item.name not in QUICK], ids=lambda item: item.name)
def test_the_same_slices_are_read_in_all_other_variants(small, tmp_path, variant):
    check(variant, small, tmp_path)
