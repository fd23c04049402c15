"""The files of a run, read back: report and grades of every study."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.tables import KERNEL
from lumbar_kernel.schema import LEVELS, ROWS, SEVERITIES, SIDES, prior, row_index


@dataclass(frozen=True, eq=False)
class GradedStudy:
    """One study of a run.

    Attributes:
        study_id: as in the row ids.
        report: its part of `report.json`.
        probabilities: (25, 3), rows as in `schema.ROWS`.
        graded: (25,) whether a member graded the row; the others hold the prior.
    """

    study_id: str
    report: dict[str, Any]
    probabilities: FloatArray
    graded: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RunFiles:
    """A run: `report.json`, and its studies in the order of the submission."""

    report: dict[str, Any]
    studies: tuple[GradedStudy, ...]


def read_run(folder: Path) -> RunFiles:
    """Read `report.json` and `grades.csv` of a results folder.

    Raises:
        ConfigError: a file is absent, or is not what `predict` writes.
        OSError: a file cannot be read.
    """
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        grades = _read_grades(folder / "grades.csv")
        studies = tuple(_study(entry, grades) for entry in report["studies"])
    except FileNotFoundError as error:
        name = Path(error.filename).name
        msg = f"{str(folder)!r} has no {name}; name the folder that `lumbar-kernel predict` wrote its results to"
        raise ConfigError(msg) from error
    except (ValueError, KeyError, TypeError) as error:
        msg = f"report.json or grades.csv in {str(folder)!r} is damaged ({type(error).__name__}: {error})"
        raise ConfigError(msg) from error
    return RunFiles(report, studies)


def _study(entry: dict[str, Any], grades: dict[str, tuple[FloatArray, NDArray[np.bool_]]]) -> GradedStudy:
    study_id = str(entry["study_id"])
    probabilities, graded = grades.get(study_id, (prior(), np.zeros(len(ROWS), dtype=bool)))
    return GradedStudy(study_id, entry, probabilities, graded)


def _read_grades(path: Path) -> dict[str, tuple[FloatArray, NDArray[np.bool_]]]:
    """Study id → its probabilities (25, 3) and which of them a member gave, (25,)."""
    grades: dict[str, tuple[FloatArray, NDArray[np.bool_]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            probabilities, graded = grades.setdefault(line["study_id"], (prior(), np.zeros(len(ROWS), dtype=bool)))
            side = SIDES.index(line["side"]) if line["side"] else None
            row = row_index(line["condition"], LEVELS.index(line["level"]), side)
            probabilities[row] = [float(line[severity]) for severity in SEVERITIES]
            graded[row] = line["source"] == KERNEL
    return grades
