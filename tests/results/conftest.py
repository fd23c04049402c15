"""A results folder as `predict --html` leaves it, without a run."""

import numpy as np
import pytest

from lumbar_kernel.grading.crops import cut_crops
from lumbar_kernel.results.pictures import draw_study
from lumbar_kernel.results.report import EXIT_DEGRADED, Failure, Report, StudyReport
from lumbar_kernel.results.study_report import study_report
from lumbar_kernel.results.tables import write_tables
from lumbar_kernel.schema import ROWS

EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def crops(phantom, landmarks, views):
    return cut_crops(phantom.study, landmarks, views)


@pytest.fixture(scope="session")
def write_run(phantom, landmarks, views):
    """Writes a run of `count` studies: every third has severe grades, every fourth no grades and a failure."""

    def write(folder, *, count, names=None):
        rng = np.random.default_rng(1)
        whole = study_report(phantom.study, views, (), landmarks=landmarks)
        reports, grades, graded = {}, {}, {}
        for index in range(count):
            name = names[index] if names else str(1000 + 7 * index)
            broken = index % 4 == 3
            failures = (Failure("read", "DicomError", f"DOE_JOHN/IM1: cannot be decoded {EVIL}"),) if broken else ()
            missing = ("no Axial T2 series", "/home/doe/7.dcm: truncated") if broken else ()
            known = StudyReport(name) if broken else whole
            values = {"study_id": name, "failures": failures, "missing": missing, "graded_rows": 0 if broken else 25}
            reports[name] = StudyReport(**{**known.__dict__, **values, "confidence": None if broken else index / count})
            grades[name] = rng.dirichlet([1, 1, 60] if index % 3 == 0 else [60, 1, 1], size=len(ROWS))
            graded[name] = np.full(len(ROWS), not broken)
        folder.mkdir(exist_ok=True)
        write_tables(grades, graded, reports, folder)
        stages = {"load weights": 1.0, "localise": 6.5, "grade tiny": 2.0}
        figures = {"seconds": 12.0, "budget_seconds": 60.0, "margin_seconds": 48.0, "exit_code": EXIT_DEGRADED}
        report = Report(
            version="1.2.3",
            weights_sha256="ab" * 32,
            device="cpu",
            studies=tuple(reports.values()),
            stages=stages,
            members=("tiny",),
            members_failed={"big": f"damaged {EVIL}"},
            **figures,
        )
        report.write(folder / "report.json")
        return grades, graded

    return write


@pytest.fixture(scope="session")
def run_folder(write_run, phantom, landmarks, views, crops, tmp_path_factory):
    """Twelve studies, the first with a picture."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, count=12)
    path = draw_study(phantom.study, landmarks, views, crops, folder / "pictures")
    path.rename(path.with_name("1000.jpg"))
    return folder
