"""The packs of single real slices in `shared/data` → pictures with landmarks, in the localisers' own frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.real_slices import letterbox, pictures, true_size
from lumbar_kernel import schema
from lumbar_kernel.localisation.landmarks import POINTS
from lumbar_kernel.localisation.slice_maps import FRAME
from training.disc_margins import disc_margins, margins_behind
from training.examples import LandmarkExamples

AXIAL_FIELD_MM = 170.0
"""Assumed width of an axial field of view; 160 mm on all three complete studies. The recess distance it gives is
17.1 … 14.0 mm from L1/L2 to L4/L5 with a between-study deviation of 17 %."""

AWAY_SLICES = 2
"""Number of slices, usually 9 mm, from which a marked foramen is no longer visible."""

LEVEL_INDEX = {level: index for index, level in enumerate(schema.LEVELS)}


def _to_frame(x_rel: NDArray[np.float64], y_rel: NDArray[np.float64], height: float, width: float) -> NDArray:
    """Relative picture coordinates as (n, 2) row and column in the localiser's frame."""
    top, left = (FRAME - height) // 2, (FRAME - width) // 2
    return np.stack([y_rel * height + top - 0.5, x_rel * width + left - 0.5], axis=1)


class _LandmarkList:
    """Collects landmark examples one picture at a time."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.rows: list[tuple] = []

    def add(self, frame: NDArray, points: NDArray, known: NDArray, *, group: str, fold: int, weighting: str) -> None:
        self.rows.append((frame, points, known, group, fold, weighting))

    def build(self) -> LandmarkExamples:
        frames, points, known, group, fold, weighting = zip(*self.rows, strict=True)
        return LandmarkExamples(
            images=np.stack(frames),
            points=np.stack(points).astype(np.float32),
            known=np.stack(known),
            group=np.array(group),
            fold=np.array(fold, np.int8),
            source=np.full(len(frames), self.source),
            weighting=np.array(weighting),
        )


def sagittal_t1(data: Path) -> LandmarkExamples:
    """Marked foramina, and what each mark implies for other landmarks.

    On a slice with a marked foramen the disc margin of that level is not visible. A foramen that the reader marked two
    or more slices away on the same side is not visible either: so the network learns the slice position of foramina.
    """
    pack = data / "sagittal_t1"
    marks = pd.read_csv(pack / "points.csv", dtype={"study_id": str})
    elsewhere = _slices_by_foramen(marks)
    table = dict(iter(marks.groupby("image")))
    found = _LandmarkList("sagittal_t1")
    for name, picture in pictures(pack):
        rows = table.get(name)
        if rows is None:  # a few slices of the archive have no row in the table
            continue
        frame, height, width = letterbox(picture, rows=rows["rows"].iloc[0], columns=rows["columns"].iloc[0])
        points, known = np.full((POINTS, 2), np.nan), np.zeros(POINTS, bool)
        levels = rows["level"].map(LEVEL_INDEX).to_numpy()
        points[5 + levels] = _to_frame(rows["x_rel"].to_numpy(), rows["y_rel"].to_numpy(), height, width)
        known[5 + levels] = known[levels] = True
        first = rows.iloc[0]
        for level in set(range(5)) - set(levels):
            place = elsewhere.get((first["series_id"], first["condition"], level))
            known[5 + level] = place is not None and abs(place - first["instance_number"]) >= AWAY_SLICES
        found.add(frame, points, known, group=first["study_id"], fold=first["fold"], weighting="t1")
    return found.build()


def _slices_by_foramen(marks: pd.DataFrame) -> dict[tuple[object, object, int], float]:
    """Instance number of the marked slice by series, condition (which gives the side) and level index."""
    levels = marks["level"].map(LEVEL_INDEX)
    keys = zip(marks["series_id"], marks["condition"], levels, strict=True)
    return dict(zip(keys, marks["instance_number"].astype(float), strict=True))


def midsagittal(data: Path, pack_name: str) -> LandmarkExamples:
    """Posterior disc margins on mid-sagittal slices, where no foramen is shown; `patient_t1`/`patient_t2` file names.

    A T1 and a T2 slice of one patient in one matrix also give a pseudo-STIR picture (bright fluid, dark fat).
    """
    pack = data / pack_name
    table = pd.read_csv(pack / "points.csv")
    by_image = dict(iter(table.groupby("image")))
    by_name = {Path(name).name: picture for name, picture in pictures(pack)}
    found = _LandmarkList(pack_name)
    for name, rows in by_image.items():
        if name not in by_name:
            continue
        weighting = rows["weighting"].iloc[0]
        _add_midsagittal(found, by_name[name], rows, pack_name, weighting)
        partner = by_name.get(name.replace("_t2.", "_t1."))
        if weighting == "t2" and partner is not None and partner.shape == by_name[name].shape:
            _add_midsagittal(found, pseudo_stir(by_name[name], partner), rows, pack_name, "stir")
    return found.build()


def _add_midsagittal(found: _LandmarkList, picture: NDArray, rows: pd.DataFrame, pack: str, weighting: str) -> None:
    true_rows, true_columns = true_size(picture, pack)
    frame, height, width = letterbox(picture, rows=true_rows, columns=true_columns)
    points, known = np.full((POINTS, 2), np.nan), np.zeros(POINTS, bool)
    levels = rows["level"].map(LEVEL_INDEX).to_numpy()
    points[levels] = _to_frame(rows["x_rel"].to_numpy(), rows["y_rel"].to_numpy(), height, width)
    known[levels] = known[5 + levels] = True
    first = rows.iloc[0]
    patient = f"{pack.split('_')[0]}-{first['patient']}"
    found.add(frame, points, known, group=patient, fold=first["fold"], weighting=weighting)


def pseudo_stir(t2: NDArray[np.uint8], t1: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A fat-suppressed look from a T2 and a T1 slice in one matrix: T2 × clip(1 - T1, .05, 1)^1.5.

    Formula of the data folder's README; each slice is scaled by its 99th percentile and T1 is slightly blurred.
    """
    bright = t2 / max(np.percentile(t2, 99), 1)
    fat = cv2.GaussianBlur(t1 / max(np.percentile(t1, 99), 1), (0, 0), 1.0)
    mixed = bright * np.clip(1 - fat, 0.05, 1) ** 1.5
    return np.clip(255 * mixed / max(np.percentile(mixed, 99.5), 1e-6), 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class SpaceSlice:
    """A near-mid-sagittal T2-SPACE slice of SPIDER.

    Attributes:
        patient: number in SPIDER.
        picture: grey pixels.
        margins: (5, 2) row and column of posterior disc margins, NaN where the slice does not show one.
    """

    patient: int
    picture: NDArray[np.uint8]
    margins: NDArray[np.float64]

    @property
    def group(self) -> str:
        """Name of the patient."""
        return f"spider-{self.patient}"

    @property
    def fold(self) -> int:
        """As in `spider_midsagittal`, which shows the same people; -1 for those whom that pack keeps apart."""
        return self.patient % 5 - 1


def space_slices(data: Path) -> Iterator[SpaceSlice]:
    """The slices of `spider_t2`, patient by patient; levels are counted from the patient's lowest disc.

    Counted slice by slice instead, a curved spine moves up by a level where a slice misses its lowest disc.
    """
    pack = data / "spider_t2"
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
            yield SpaceSlice(patient, files[f"images/{stem}.jpg"], of_slice)


def spider_space(data: Path) -> LandmarkExamples:
    """Posterior disc margins taken from the masks of near-mid-sagittal T2-SPACE slices.

    A level counts where the mask has canal behind its disc; elsewhere the slice is too lateral.
    """
    found = _LandmarkList("spider_t2")
    for item in space_slices(data):
        if np.isnan(item.margins).all() or item.fold < 0:
            continue
        rows, columns = item.picture.shape
        frame, height, width = letterbox(item.picture, rows=rows, columns=columns)
        points, known = np.full((POINTS, 2), np.nan), np.zeros(POINTS, bool)
        points[:5] = _to_frame((item.margins[:, 1] + 0.5) / columns, (item.margins[:, 0] + 0.5) / rows, height, width)
        known[:5] = known[5:] = ~np.isnan(item.margins[:, 0])
        found.add(frame, points, known, group=item.group, fold=item.fold, weighting="t2")
    return found.build()


def tianchi(data: Path) -> LandmarkExamples:
    """Posterior disc margins estimated from the marked disc centres: half a disc behind, in the plane of the disc."""
    pack = data / "tianchi_t2"
    table = pd.read_csv(pack / "points.csv")
    discs = table[(table["kind"] == "disc") & table["level"].isin(LEVEL_INDEX)]
    by_image = dict(iter(discs.groupby("image")))
    found = _LandmarkList("tianchi_t2")
    for name, picture in pictures(pack):
        rows = by_image.get(Path(name).name)
        if rows is None or len(rows) != len(LEVEL_INDEX):
            continue
        first, rows = rows.iloc[0], rows.set_index("level").loc[list(LEVEL_INDEX)]
        margins = margins_behind(rows[["y", "x"]].to_numpy(dtype=float))
        frame, height, width = letterbox(picture, rows=first["rows"], columns=first["columns"])
        points, known = np.full((POINTS, 2), np.nan), np.ones(POINTS, bool)
        x_rel, y_rel = (margins[:, 1] + 0.5) / first["columns"], (margins[:, 0] + 0.5) / first["rows"]
        points[:5] = _to_frame(x_rel, y_rel, height, width)
        found.add(frame, points, known, group=f"tianchi-{name}", fold=first["fold"], weighting="t2")
    return found.build()


def axial_points(data: Path, *, spacing: float, shape: tuple[int, int]) -> LandmarkExamples:
    """Left and right subarticular points on the middle slice of the axial crops, on a grid wider than the crop.

    Args:
        data: the folder of packs.
        spacing: mm per pixel of the examples.
        shape: rows and columns of the examples; what lies outside the crop is mirrored.
    """
    pack = data / "axial_t2_crops"
    table = pd.read_csv(pack / "labels.csv", dtype={"study_id": str}).set_index("image")
    found = _LandmarkList("axial_t2_crops")
    for name, picture in pictures(pack, "crops.zip"):
        row = table.loc[name]
        marked = np.array([[row["left_y"], row["left_x"]], [row["right_y"], row["right_x"]]], dtype=float)
        if np.isnan(marked).all():
            continue
        height, width = picture.shape[0] // 3, picture.shape[1]
        scale = AXIAL_FIELD_MM / row["series_columns"] * row["crop_columns"] / width / spacing
        middle = np.array([(height - 1) / 2, (width - 1) / 2])
        target = (np.array(shape) - 1) / 2
        matrix = np.array([[scale, 0, target[1] - scale * middle[1]], [0, scale, target[0] - scale * middle[0]]])
        frame = cv2.warpAffine(
            picture[height : 2 * height], matrix, shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        points = (marked - middle) * scale + target
        known = ~np.isnan(points[:, 0])
        found.add(frame, points, known, group=row["study_id"], fold=row["fold"], weighting="t2")
    return found.build()


def landmark_packs(data: Path) -> list[LandmarkExamples]:
    """All sagittal packs that exist."""
    builders = {
        "sagittal_t1": sagittal_t1,
        "spider_midsagittal": lambda d: midsagittal(d, "spider_midsagittal"),
        "sudirman_sagittal": lambda d: midsagittal(d, "sudirman_sagittal"),
        "spider_t2": spider_space,
        "tianchi_t2": tianchi,
    }
    return [build(data) for name, build in builders.items() if (data / name).is_dir()]
