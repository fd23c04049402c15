"""Small packs in the layout of `shared/data`, painted from phantoms, so that evaluation can be tested without data."""

import functools
import zipfile

import cv2
import numpy as np
import pandas as pd

from lumbar_kernel.phantom import make_phantom
from lumbar_kernel.schema import (
    CANAL,
    FORAMINAL,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SEVERITY_NAMES,
    SIDES,
    SUBARTICULAR,
    row_index,
)
from lumbar_kernel.slice_choice import nearest_sagittal

SQUASHED = 250


def _grey(pixels):
    high = np.percentile(pixels, 99.5)
    return np.clip(pixels / high * 255, 0, 255).astype(np.uint8)


def _store(pack, archive, pictures):
    pack.mkdir(parents=True)
    with zipfile.ZipFile(pack / archive, "w") as file:
        for name, picture in pictures.items():
            file.writestr(name, cv2.imencode(".png" if name.endswith("png") else ".jpg", picture)[1].tobytes())


@functools.cache
def balanced_phantom(seed):
    """A phantom of the packs, which nobody may change."""
    return make_phantom(seed, study_id=str(seed), balanced=True)


def write_packs(data, *, seeds):
    """Packs of whole T1 slices with foramina, mid-sagittal slices with margins, disc centres and axial crops.

    The phantoms are balanced, so that a handful of them holds all grades.
    """
    studies = {str(seed): balanced_phantom(seed) for seed in seeds}
    _foramina(data / "sagittal_t1", studies)
    _margins(data / "sudirman_sagittal", studies)
    _boxes(data / "sudirman_sagittal", studies)
    _centres(data / "tianchi_t2", studies)
    _axial(data / "axial_t2_crops", studies)


def _foramina(pack, studies):
    pictures, rows = {}, []
    for study_id, made in studies.items():
        slices = made.study.slices(SAGITTAL_T1)
        for side, name in enumerate(SIDES):
            points = made.truth.foramina[:, side]
            item = nearest_sagittal(slices, np.median(points, axis=0))
            image = f"{study_id}_{name}.jpg"
            pictures[image] = cv2.resize(_grey(item.pixels), (SQUASHED, SQUASHED), interpolation=cv2.INTER_AREA)
            height, width = item.pixels.shape
            for level, (y, x) in enumerate(item.plane.to_pixel(points)):
                condition = f"{name}_{FORAMINAL}"
                grade = made.truth.grades[row_index(FORAMINAL, level, side)]
                rows.append(
                    {
                        **{"image": image, "study_id": study_id, "series_id": 1, "condition": condition},
                        **{"instance_number": item.instance_number, "rows": height, "columns": width},
                        **{"level": LEVELS[level], "x": x, "y": y, "fold": int(study_id) % 4},
                        **{"x_rel": (x + 0.5) / width, "y_rel": (y + 0.5) / height, "label": SEVERITY_NAMES[grade]},
                        "row_id": f"{study_id}_{condition}_{LEVELS[level]}",
                    }
                )
    _store(pack, "slices.zip", pictures)
    pd.DataFrame(rows).to_csv(pack / "points.csv", index=False)


def _middle_slices(studies):
    for study_id, made in studies.items():
        for role, weighting in ((SAGITTAL_T1, "t1"), (SAGITTAL_T2, "t2")):
            if slices := made.study.slices(role):
                yield study_id, weighting, nearest_sagittal(slices, made.truth.canal[2]), made.truth


def _margins(pack, studies):
    pictures, rows = {}, []
    for study_id, weighting, item, truth in _middle_slices(studies):
        image = f"{int(study_id):04d}_{weighting}.jpg"
        pictures[image] = _grey(item.pixels)
        height, width = item.pixels.shape
        for level, (y, x) in zip(LEVELS, item.plane.to_pixel(truth.disc_margin), strict=True):
            place = {"x_rel": (x + 0.5) / width, "y_rel": (y + 0.5) / height, "fold": int(study_id) % 4}
            rows.append({"image": image, "patient": study_id, "weighting": weighting, "level": level, **place})
    _store(pack, "slices.zip", pictures)
    pd.DataFrame(rows).to_csv(pack / "points.csv", index=False)


def _boxes(pack, studies):
    """A box of stenosis behind every disc whose canal is graded, and one of another kind in every picture."""
    rows = []
    for study_id, weighting, item, truth in _middle_slices(studies):
        image = f"{int(study_id):04d}_{weighting}.jpg"
        height, width = item.pixels.shape
        for level, (y, x) in enumerate(item.plane.to_pixel(truth.disc_margin)):
            graded = truth.grades[row_index(CANAL, level)] > 0
            place = {"x_centre_rel": (x + 3) / width, "y_centre_rel": (y + 0.5) / height}
            rows += [{"image": image, "finding": finding, **place} for finding in ("ddd", "stenosis")[: 1 + graded]]
    pd.DataFrame(rows).to_csv(pack / "boxes.csv", index=False)


def _centres(pack, studies):
    pictures, rows = {}, []
    for study_id, weighting, item, truth in _middle_slices(studies):
        if weighting == "t2":
            image, (height, width) = f"{study_id}.jpg", item.pixels.shape
            pictures[image] = _grey(item.pixels)
            centres = item.plane.to_pixel(truth.disc_margin - (0, 16.0, 0))
            for level, (y, x) in zip(LEVELS, centres, strict=True):
                entry = {"image": image, "rows": height, "columns": width, "kind": "disc", "level": level}
                rows.append({**entry, "x": x, "y": y, "fold": int(study_id) % 4})
    _store(pack, "slices.zip", pictures)
    pd.DataFrame(rows).to_csv(pack / "points.csv", index=False)


def _axial(pack, studies):
    rng, pictures, rows = np.random.default_rng(0), {}, []
    for study_id, made in studies.items():
        for level, name in enumerate(LEVELS):
            image = f"{study_id}_{name}.jpg"
            pictures[image] = rng.integers(0, 255, (3 * 129, 212), dtype=np.uint8)
            graded = {CANAL: row_index(CANAL, level)}
            graded |= {f"{s}_{SUBARTICULAR}": row_index(SUBARTICULAR, level, k) for k, s in enumerate(SIDES)}
            labels = {key: SEVERITY_NAMES[made.truth.grades[row]] for key, row in graded.items()}
            entry = {"image": image, "study_id": study_id, "level": name, "fold": int(study_id) % 4}
            marks = {"left_x": 130.0, "left_y": 60.0, "right_x": 70.0, "right_y": 64.0}
            rows.append({**entry, "crop_columns": 212, "series_columns": 640, **marks, **labels})
    _store(pack, "crops.zip", pictures)
    pd.DataFrame(rows).to_csv(pack / "labels.csv", index=False)
