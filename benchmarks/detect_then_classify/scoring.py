"""What detectors and classifiers make of rows that they have not seen, in the figures of `training.evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.detect_then_classify.classifiers import PIXELS, classify
from benchmarks.detect_then_classify.packs import Pack, Rows, crops
from evaluation.array_rows import select
from evaluation.row_loss import row_loss
from lumbar_kernel.schema import CANAL, SEVERITIES, SEVERITY_WEIGHTS, SUBARTICULAR

REACH = 2
"""Slices of a series beside the marked one among which the detector may choose, as many as the kernel's 12 mm."""

NEAR = 0.06
"""A detection is right within this distance of the mark, relative to the picture."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where the rows of one figure are graded.

    Attributes:
        figure: its name.
        rows: in the order of `sources` and `centre`.
        sources: the picture of each row.
        centre: (n, 2) relative row and column, NaN where the detector found nothing.
    """

    figure: str
    rows: Rows
    sources: list[NDArray[np.uint8]]
    centre: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Graded:
    """Graded rows, each once.

    Attributes:
        row_id: (n,) of the submission.
        study: (n,).
        labels: (n,) grade 0..2.
        probabilities: (n, 3).
        found: (n,) whether the detector found a place; the others have the prior of the training folds.
    """

    row_id: NDArray[np.str_]
    study: NDArray[np.str_]
    labels: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    found: NDArray[np.bool_]


def places(
    pack: Pack, pictures: NDArray[np.intp], found: NDArray[np.float64], beside: NDArray[np.float64]
) -> Iterator[Places]:
    """The figures of a pack on the pictures that a detector has not seen.

    Args:
        pack: with its rows.
        pictures: indices of the pictures.
        found: (pictures, classes, 3) detections on them.
        beside: the same on the neighbours, empty without.
    """
    on_all = _on_all(pack, pictures, found)
    rows = select(pack.rows, np.isin(pack.rows.picture, pictures))
    own = [pack.pictures[index] for index in rows.picture]
    at_rows = on_all[rows.picture, rows.target, :2]
    if pack.name == "sagittal_t1":
        yield Places("foraminal_marked", rows, own, rows.point)
        yield Places("foraminal_localised", rows, own, at_rows)
        best = _most_confident(pack, rows, on_all)
        yield Places("foraminal_stack", rows, [pack.pictures[index] for index in best], on_all[best, rows.target, :2])
        return
    next_to = [pack.neighbours[index] for index in rows.picture]
    beside_rows = _on_all(pack, pictures, beside)[rows.picture, rows.target, :2]
    for ending, sources, detected in (("", own, at_rows), ("_shifted", next_to, beside_rows)):
        for name, group in (("canal_axial", CANAL), ("subarticular_axial", SUBARTICULAR)):
            chosen = np.flatnonzero(rows.group == group)
            yield Places(name + ending, select(rows, chosen), [sources[k] for k in chosen], detected[chosen])


def _on_all(pack: Pack, pictures: NDArray[np.intp], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Detections on some pictures as an array over all pictures of a pack, NaN on the others."""
    on_all = np.full((len(pack.pictures), len(pack.classes), 3), np.nan)
    on_all[pictures] = found
    return on_all


def marked_places(pack: Pack, *, fold: int) -> Iterator[Places]:
    """The figures of a fold that need no detector."""
    pictures = np.flatnonzero(pack.fold == fold)
    nothing = np.full((len(pictures), len(pack.classes), 3), np.nan)
    yield from (item for item in places(pack, pictures, nothing, nothing) if item.figure.endswith("_marked"))


def _most_confident(pack: Pack, rows: Rows, found: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each row the picture with the most confident detection of its level, of its slice and those beside it."""
    by_series: dict[str, list[int]] = {}
    for index, series in enumerate(pack.series):
        by_series.setdefault(str(series), []).append(index)
    best = rows.picture.copy()
    for row, (picture, target) in enumerate(zip(rows.picture, rows.target, strict=True)):
        near = [
            other
            for other in by_series[str(pack.series[picture])]
            if abs(pack.instance[other] - pack.instance[picture]) <= REACH
        ]
        best[row] = max(near, key=lambda other: np.nan_to_num(found[other, target, 2]))
    return best


def training_prior(pack: Pack, fold: int) -> dict[str, NDArray[np.float64]]:
    """The best constant of each condition and level on all folds but one."""
    rows = select(pack.rows, pack.fold[pack.rows.picture] != fold)
    constants = {}
    for stratum in np.unique(rows.stratum):
        counts = np.bincount(rows.label[rows.stratum == stratum], minlength=len(SEVERITIES))
        weight = counts * np.array(SEVERITY_WEIGHTS)
        constants[str(stratum)] = (weight + 1e-3) / (weight + 1e-3).sum()
    return constants


def grade(
    item: Places,
    pack: Pack,
    nets: Mapping[str, nn.Module],
    *,
    constants: Mapping[str, NDArray[np.float64]],
    device: str,
) -> Graded:
    """Grade the rows of a figure; rows without a place get the prior, pictures of the same row are averaged.

    Args:
        item: the rows and their places.
        pack: that they come from.
        nets: condition → classifier.
        constants: from `training_prior`.
        device: of the classifiers.
    """
    found = ~np.isnan(item.centre[:, 0])
    predicted = np.stack([constants[stratum] for stratum in item.rows.stratum])
    for group, net in nets.items():
        chosen = np.flatnonzero(found & (item.rows.group == group))
        cut = crops([item.sources[k] for k in chosen], item.centre[chosen], window=pack.window, pixels=PIXELS)
        predicted[chosen] = classify(net, cut, device=device)
    row_id, first, which = np.unique(item.rows.row_id, return_index=True, return_inverse=True)
    count = np.bincount(which)
    return Graded(
        row_id=row_id,
        study=pack.study[item.rows.picture[first]],
        labels=item.rows.label[first],
        probabilities=np.stack([np.bincount(which, weights) for weights in predicted.T], axis=1) / count[:, None],
        found=np.bincount(which, found) > 0,
    )


def loss_figure(rows: Graded) -> dict[str, float]:
    """The loss of rows with its interval, as `evaluation.row_loss` gives it, and the share of rows with a place."""
    figure = row_loss(rows.labels, rows.probabilities, row_id=rows.row_id, study=rows.study)
    return figure | {"found": float(rows.found.mean())}


def found_figure(pack: Pack, pictures: NDArray[np.intp], found: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """For each marked row whether the detector found its level on its picture, and near its mark."""
    rows = select(pack.rows, np.isin(pack.rows.picture, pictures) & ~np.isnan(pack.rows.point).any(axis=1))
    place = _on_all(pack, pictures, found)[rows.picture, rows.target, :2]
    distance = np.linalg.norm(place - rows.point, axis=1)
    return {"found": ~np.isnan(distance), "near": np.nan_to_num(distance, nan=np.inf) < NEAR}
