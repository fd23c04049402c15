"""The ground truth of a study in patient mm, from the competition's label tables."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lumbar_kernel.geometry import CRANIAL, posterior_direction
from lumbar_kernel.localisation.landmarks import CANAL_BEHIND_MARGIN_MM, disc_normals
from lumbar_kernel.schema import CONDITION_NAMES, LEVELS, PLACES, ROWS, SEVERITY_NAMES, SIDES, TARGETS
from lumbar_kernel.study import Study

logger = logging.getLogger(__name__)

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
    """The labels of every study that both tables hold; marks without a place are left out with a warning."""
    by_study = pd.read_csv(folder / GRADES_TABLE, dtype={"study_id": str}).set_index("study_id").to_dict("index")
    marks = _placed_marks(folder / MARKS_TABLE)
    return {
        str(study): StudyLabels(own, by_study[study]) for study, own in marks.groupby("study_id") if study in by_study
    }


def _placed_marks(path: Path) -> pd.DataFrame:
    # A single empty cell would make numbers of a whole column: ids that are no text would end in ".0".
    every = pd.read_csv(path, dtype={"study_id": str, "series_id": str})
    marks = every.dropna(subset=["study_id", "series_id", "instance_number", "x", "y"])
    if lost := len(every) - len(marks):
        logger.warning("%s: %d of %d marks lack series, instance or place and are left out", path, lost, len(every))
    return marks.astype({"instance_number": int})


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


def along_the_spine(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the levels (levels, 3), two or more of them known, with the others on lines through those beside them.

    Beyond the known ones the last line goes on: a level that repeated its neighbour would turn the neighbour's disc.
    """
    level, known = np.arange(len(points)), np.flatnonzero(~np.isnan(points[:, 0]))
    after = np.clip(np.searchsorted(known, level), 1, len(known) - 1)
    first, second = known[after - 1], known[after]
    share = ((level - first) / (second - first))[:, None]
    line = (1 - share) * points[first] + share * points[second]
    return np.where(np.isnan(points), line, points)


def truth_of(study: Study, labels: StudyLabels) -> StudyTruth | None:
    """A study's truth from its labels; None when fewer than three canal points are marked.

    Raises:
        KeyError: a row of the schema is no column of the table.
        ValueError: a grade is none of the schema's.
    """
    points = marked_points(study, labels.marks)
    canal = points["canal"]
    if (~np.isnan(canal[:, 0])).sum() < 3:
        return None
    # Moved apart by next to nothing: two marks at one place would have no direction.
    normal = disc_normals(along_the_spine(canal) + 1e-6 * np.outer(-np.arange(len(LEVELS)), CRANIAL))
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
