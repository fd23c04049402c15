"""The packs' pictures with what readers marked on them: mid-sagittal slices with discs, axial crops with recesses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.real_slices import pictures, rows_by, true_size
from lumbar_kernel.schema import CANAL, LEVELS, SEVERITY_NAMES, SIDES, SUBARTICULAR
from training.disc_margins import disc_margins, margins_behind

AXIAL_FIELD_MM = 170.0
"""Assumed width of an axial field of view; 160 mm on all three complete studies. The recess distance it gives is
17.1 … 14.0 mm from L1/L2 to L4/L5 with a between-study deviation of 17 %."""

LEVEL_INDEX = {level: index for index, level in enumerate(LEVELS)}
GRADE_INDEX = {name: index for index, name in enumerate(SEVERITY_NAMES)}


@dataclass(frozen=True, eq=False)
class MarkedSlice:
    """A mid-sagittal picture with marked discs.

    Attributes:
        name: of the picture's file.
        picture: grey pixels.
        rows: height of the original in square pixels.
        columns: its width.
        discs: (5, 2) relative row and column, NaN where not marked.
        group: patient.
        fold: of the patient, -1 for those who are kept apart.
        weighting: "t1" or "t2".
        centres: whether the middle of each disc is marked rather than its posterior margin.
    """

    name: str
    picture: NDArray[np.uint8]
    rows: float
    columns: float
    discs: NDArray[np.float64]
    group: str
    fold: int
    weighting: str
    centres: bool = False

    @property
    def margins(self) -> NDArray[np.float64]:
        """(5, 2) posterior disc margins: as marked, or half a disc behind the centres where all five are marked."""
        if not self.centres:
            return self.discs
        if np.isnan(self.discs).any():
            return np.full_like(self.discs, np.nan)
        size = np.array([self.rows, self.columns])
        margins: NDArray[np.float64] = (margins_behind(self.discs * size - 0.5) + 0.5) / size
        return margins


def _with_margins(pack: Path) -> Iterator[MarkedSlice]:
    table = rows_by(pd.read_csv(pack / "points.csv"), "image")
    for path, picture in pictures(pack):
        name = Path(path).name
        if (marks := table.get(name)) is None:
            continue
        rows, columns = true_size(picture, pack.name)
        discs, first = _by_level(marks, marks[["y_rel", "x_rel"]].to_numpy()), marks.iloc[0]
        group, fold = f"{pack.name.split('_')[0]}-{first['patient']}", int(first["fold"])
        yield MarkedSlice(name, picture, rows, columns, discs, group, fold, str(first["weighting"]))


def _with_centres(pack: Path) -> Iterator[MarkedSlice]:
    table = pd.read_csv(pack / "points.csv")
    discs = rows_by(table[(table["kind"] == "disc") & table["level"].isin(LEVEL_INDEX)], "image")
    for path, picture in pictures(pack):
        name = Path(path).name
        if (marks := discs.get(name)) is None:
            continue
        first = marks.iloc[0]
        rows, columns = float(first["rows"]), float(first["columns"])
        places = (marks[["y", "x"]].to_numpy(dtype=float) + 0.5) / [rows, columns]
        own, group, fold = _by_level(marks, places), f"tianchi-{path}", int(first["fold"])
        yield MarkedSlice(name, picture, rows, columns, own, group, fold, "t2", centres=True)


def _with_masks(pack: Path) -> Iterator[MarkedSlice]:
    """Near-mid-sagittal T2-SPACE slices, patient by patient; a level counts where its mask has canal behind the disc.

    Levels are counted from the patient's lowest disc: counted slice by slice, a curved spine moves up by a level where
    a slice misses its lowest disc. The folds are those of `spider_midsagittal`, which shows the same people.
    """
    files = dict(pictures(pack))
    by_patient: dict[int, list[str]] = {}
    for name in files:
        if name.startswith("images/"):
            stem = Path(name).stem
            by_patient.setdefault(int(stem.split("_")[0]), []).append(stem)
    for patient, stems in sorted(by_patient.items()):
        stems.sort(key=lambda stem: int(stem.rpartition("slice")[2]))
        margins = disc_margins(np.stack([files[f"masks/{stem}.png"] for stem in stems]))
        for stem, of_slice in zip(stems, margins, strict=True):
            picture = files[f"images/{stem}.jpg"]
            rows, columns = picture.shape
            discs, fold = (of_slice + 0.5) / picture.shape, patient % 5 - 1
            yield MarkedSlice(f"{stem}.jpg", picture, rows, columns, discs, f"spider-{patient}", fold, "t2")


def _by_level(marks: pd.DataFrame, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (n, 2) of marks in the order of the levels, (5, 2), NaN where there is none."""
    points = np.full((len(LEVELS), 2), np.nan)
    points[marks["level"].map(LEVEL_INDEX)] = places
    return points


READERS = {
    "spider_midsagittal": _with_margins,
    "sudirman_sagittal": _with_margins,
    "spider_t2": _with_masks,
    "tianchi_t2": _with_centres,
}
"""The packs with marked discs, and the function that reads each."""


def marked_slices(data: Path, pack: str) -> Iterator[MarkedSlice]:
    """The slices of one of the packs of `READERS`."""
    return READERS[pack](data / pack)


@dataclass(frozen=True, eq=False)
class AxialCrop:
    """Three neighbouring axial slices at a disc, with the reader's grades and marks.

    Attributes:
        picture: (3 * rows, columns) grey pixels, the caudal slice first.
        mm: assumed width of a pixel.
        study_id: of the study.
        fold: of the study.
        level: level index.
        grades: condition with its side → grade 0..2, -1 where there is none.
        recesses: (2, 2) row and column of the left and the right one on the middle slice, NaN where not marked.
    """

    picture: NDArray[np.uint8]
    mm: float
    study_id: str
    fold: int
    level: int
    grades: Mapping[str, int]
    recesses: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of one of the slices."""
        return self.picture.shape[0] // 3, self.picture.shape[1]

    @property
    def slices(self) -> tuple[NDArray[np.uint8], ...]:
        """The three slices."""
        rows, _ = self.shape
        return tuple(self.picture[index * rows : (index + 1) * rows] for index in range(3))


def axial_crops(data: Path) -> Iterator[AxialCrop]:
    """The crops of `axial_t2_crops`."""
    pack = data / "axial_t2_crops"
    table = pd.read_csv(pack / "labels.csv", dtype={"study_id": str}).set_index("image").to_dict("index")
    for name, picture in pictures(pack, "crops.zip"):
        row = table[name]
        conditions = (CANAL, *(f"{side}_{SUBARTICULAR}" for side in SIDES))
        yield AxialCrop(
            picture=picture,
            mm=AXIAL_FIELD_MM / row["series_columns"] * row["crop_columns"] / picture.shape[1],
            study_id=row["study_id"],
            fold=row["fold"],
            level=LEVEL_INDEX[row["level"]],
            grades={condition: GRADE_INDEX.get(row[condition], -1) for condition in conditions},
            recesses=np.array([[row[f"{side}_y"], row[f"{side}_x"]] for side in SIDES], dtype=float),
        )
