"""The files of a run, read back: report and grades of every study."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import output_names
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.atomic import readable
from lumbar_kernel.results.report import Report, StudyReport, report_from
from lumbar_kernel.results.tables import KERNEL, Point, points_of
from lumbar_kernel.schema import SEVERITIES, TARGETS, Target, prior


@dataclass(frozen=True, eq=False)
class GradedStudy:
    """One study of a run.

    Attributes:
        report: its part of `report.json`.
        points: those in it.
        probabilities: (25, 3), rows as in `schema.ROWS`.
        graded: (25,) whether a member graded the row; the others hold the prior.
    """

    report: StudyReport
    points: Mapping[Target, Point]
    probabilities: FloatArray
    graded: NDArray[np.bool_]

    @property
    def study_id(self) -> str:
        """As in the row ids."""
        return self.report.study_id


@dataclass(frozen=True, eq=False)
class RunFiles:
    """A run: `report.json`, and its studies in the order of the submission."""

    report: Report
    studies: tuple[GradedStudy, ...]


def read_run(folder: Path) -> RunFiles:
    """Read `report.json` and `grades.csv` of a results folder.

    Raises:
        ConfigError: a file is absent, or is not what `predict` of this version writes.
        OSError: a file cannot be read.
    """
    try:
        report = report_from(json.loads((folder / output_names.REPORT).read_text(encoding="utf-8")))
        grades = _read_grades(folder / output_names.GRADES)
        studies = tuple(
            GradedStudy(study, points_of(study), *grades.get(readable(study.study_id), _nothing_graded()))
            for study in report.studies
        )
    except FileNotFoundError as error:
        name = Path(error.filename).name
        msg = f"{str(folder)!r} has no {name}; name the folder that `lumbar-kernel predict` wrote its results to"
        raise ConfigError(msg) from error
    except (ValueError, KeyError, TypeError) as error:
        what = f"{output_names.REPORT} or {output_names.GRADES} in {str(folder)!r}"
        detail = f"{type(error).__name__}: {error}"
        msg = f"{what} is damaged, or was not written by this version of lumbar_kernel ({detail})"
        raise ConfigError(msg) from error
    return RunFiles(report, studies)


def _nothing_graded() -> tuple[FloatArray, NDArray[np.bool_]]:
    return prior(), np.zeros(len(TARGETS), dtype=bool)


def _read_grades(path: Path) -> dict[str, tuple[FloatArray, NDArray[np.bool_]]]:
    """Study id → its probabilities (25, 3) and which of them a member gave, (25,)."""
    grades: dict[str, tuple[FloatArray, NDArray[np.bool_]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            probabilities, graded = grades.setdefault(line["study_id"], _nothing_graded())
            row = TARGETS.index(Target(line["condition"], line["side"], line["level"]))
            probabilities[row] = [float(line[severity]) for severity in SEVERITIES]
            graded[row] = line["source"] == KERNEL
    return grades
