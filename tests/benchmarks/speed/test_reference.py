import numpy as np
import pytest

from benchmarks.speed.reference import plain_loop
from lumbar_kernel import Kernel
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.models.manifest import read_manifest


@pytest.mark.slow
def test_the_plain_loop_gives_the_grades_of_the_kernel(dataset, trained):
    files = find_studies(dataset)
    expected = plain_loop(files, read_manifest(trained))
    kernel = Kernel(weights=trained, device="cpu")
    assert set(expected) == {item.study_id for item in files}
    for item in files:
        grades = kernel.grade(dataset / "test_images" / item.study_id)
        assert np.allclose(grades.probabilities, expected[item.study_id], atol=1e-3)
