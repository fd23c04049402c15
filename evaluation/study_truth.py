"""The ground truth of a study in patient mm, from the competition's label tables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lumbar_kernel.geometry import posterior_direction
from lumbar_kernel.localisation.landmarks import CANAL_BEHIND_MARGIN_MM, disc_normals
from lumbar_kernel.schema import CONDITION_NAMES, LEVELS, PLACES, ROWS, SEVERITY_NAMES, SIDES, TARGETS
from lumbar_kernel.study import Study

GRADES_TABLE, MARKS_TABLE = "train.csv", "train_label_coordinates.csv"


@dataclass(frozen=True, eq=False)
class StudyLabels:
    """What the label tables say about a study.

    Attributes:
        marks: its rows of the table of marks.
        grades: row of the schema → grade as the table of grades spells it.
    """

    marks: pd.DataFrame
    grades: Mapping[Hashable, object]


def read_labels(folder: Path) -> dict[str, StudyLabels]:
    """The labels of every study that both tables hold."""
    grades, marks = (pd.read_csv(folder / name, dtype={"study_id": str}) for name in (GRADES_TABLE, MARKS_TABLE))
    by_study = grades.set_index("study_id").to_dict("index")
    return {
        str(study): StudyLabels(own, by_study[study]) for study, own in marks.groupby("study_id") if study in by_study
    }


@dataclass(frozen=True, eq=False)
class StudyTruth:
    """Ground truth of a study, mm LPS; NaN or -1 where it is not labelled.

    Attributes:
        disc_margin: (5, 3) posterior disc margins.
        canal: (5, 3) middle of the sac at each disc.
        disc_normal: (5, 3) cranial unit normals.
        foramina: (5, 2, 3) level, side.
        recesses: (5, 2, 3) level, side.
        grades: (25,) grade 0..2 of `schema.ROWS`, -1 unknown.
    """

    disc_margin: NDArray[np.float64]
    canal: NDArray[np.float64]
    disc_normal: NDArray[np.float64]
    foramina: NDArray[np.float64]
    recesses: NDArray[np.float64]
    grades: NDArray[np.int64]


TARGET_OF_NAMES = {(CONDITION_NAMES[target.condition], target.level_name): target for target in TARGETS}
"""What is graded at a point, by its condition and level as `train_label_coordinates.csv` spells them."""


def marked_points(study: Study, marks: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The labelled points of a study, mm LPS: "canal" (5, 3), "foramen" and "recess" (5, 2, 3), NaN elsewhere.

    Args:
        study: with the labelled series.
        marks: rows of `train_label_coordinates.csv`; x is the column and y the row, in pixels of the file.

    Raises:
        KeyError: a mark has an unknown condition or level, or one of a place that is none of these.
    """
    places = {(series.series_id, item.instance_number): item.plane for series in study.series for item in series.slices}
    points = {place: np.full((len(LEVELS), len(SIDES), 3), np.nan) for place in ("canal", "foramen", "recess")}
    for mark in marks.to_dict("records"):
        plane = places.get((str(mark["series_id"]), int(mark["instance_number"])))
        if plane is None:
            continue
        target = TARGET_OF_NAMES[mark["condition"], mark["level"]]
        side = SIDES.index(target.side) if target.side else 0
        points[PLACES[target.group]][LEVELS.index(target.level), side] = plane.to_mm(np.array([mark["y"], mark["x"]]))
    points["canal"] = points["canal"][:, 0]
    return points


def truth_of(study: Study, labels: StudyLabels) -> StudyTruth | None:
    """A study's truth from its labels; None when fewer than three canal points are marked.

    Raises:
        KeyError: a row of the schema is no column of the table.
        ValueError: a grade is none of the schema's.
    """
    points = marked_points(study, labels.marks)
    canal = points["canal"]
    labelled = ~np.isnan(canal[:, 0])
    if labelled.sum() < 3:
        return None
    levels = np.arange(len(LEVELS))
    filled = np.stack([np.interp(levels, levels[labelled], canal[labelled, axis]) for axis in range(3)], axis=1)
    normal = disc_normals(filled + 1e-6 * np.outer(-levels, [0, 0, 1]))
    return StudyTruth(
        disc_margin=canal - CANAL_BEHIND_MARGIN_MM * posterior_direction(normal),
        canal=canal,
        disc_normal=normal,
        foramina=points["foramen"],
        recesses=points["recess"],
        grades=np.array([_grade(labels.grades[row]) for row in ROWS]),
    )


def _grade(label: object) -> int:
    """Index of a grade, -1 where there is none; raises ValueError for another word."""
    if label is None or label != label or label == "":  # pandas reads an empty cell as NaN
        return -1
    if label not in SEVERITY_NAMES:
        msg = f"{label!r} is none of the grades {', '.join(SEVERITY_NAMES)}"
        raise ValueError(msg)
    return SEVERITY_NAMES.index(str(label))
