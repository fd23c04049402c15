"""A finished run of two phantoms, and its Structured Reports; skipped without highdicom, the extra `dicom`."""

from importlib.util import find_spec

import pydicom
import pytest

collect_ignore_glob = [] if find_spec("highdicom") else ["test_*.py"]


@pytest.fixture(scope="session")
def run(light_run):
    """Folder of a finished run on `dataset`."""
    return light_run.output


@pytest.fixture(scope="session")
def study(run):
    """The findings of its first study."""
    from lumbar_kernel.structured_reports.findings import read_findings

    return read_findings(run)[0]


@pytest.fixture(scope="session")
def images(dataset, study):
    """The original slices that they come from."""
    from lumbar_kernel.dicom.discovery import find_studies
    from lumbar_kernel.structured_reports.sources import read_sources

    files = next(item for item in find_studies(dataset) if item.study_id == study.study_id)
    found, problems = read_sources(files, study.roles)
    assert not problems
    return found


@pytest.fixture(params=["one UID for all", "a UID for each file"])
def undivided(request, dataset, tmp_path):
    """Folder of its first study in which headers do not tell the series apart, only descriptions and planes do."""
    data = tmp_path / "data"
    (data / "anna").mkdir(parents=True)
    first = min((dataset / "test_images").iterdir())
    for number, path in enumerate(sorted(first.glob("*/*.dcm"))):
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID = "2.25.7" if request.param == "one UID for all" else f"2.25.7.{number}"
        header.save_as(data / "anna" / f"{number}.dcm")
    return data
