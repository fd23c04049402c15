"""Fit the confidence of points to their errors: `python -m training.calibrate_confidence DATA_DIR [--phantoms N]`.

Every mark of the packs is compared with what localisers found that were trained without its fold. A logistic model with
slopes that cannot fall is fitted to whether it is near enough, `WITHIN_MM` or `RECESS_WITHIN_MM`. Its printed
coefficients belong into `lumbar_kernel.localisation.confidence`. The tables show confidences fitted on other studies,
and how the shipped model does on phantoms and on the complete real studies, which took no part in the fit.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from evaluation.held_out_studies import HELD_OUT_STUDIES, complete_studies
from evaluation.study_truth import StudyTruth
from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.localisation import confidence
from lumbar_kernel.localisation.axial import axial_levels, recesses_on
from lumbar_kernel.localisation.confidence import RECESS_WITHIN_MM, WITHIN_MM, probability
from lumbar_kernel.localisation.landmarks import decode, find_foramina
from lumbar_kernel.localisation.level_decoding import STEP_MM, decode_levels, gather
from lumbar_kernel.localisation.slice_maps import FORAMINA, MARGINS, slice_maps
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.phantom import dataset_study
from lumbar_kernel.schema import LEVELS, SAGITTAL_T1, SAGITTAL_T2, SIDES
from lumbar_kernel.study import Slice, Study
from training.fold_checkpoints import FoldCheckpoints, exported
from training.marked_pictures import LEVEL_INDEX, MarkedSlice, axial_crops, marked_slices
from training.pack_crops import axial_slices, foraminal_series, mark_point
from training.phantoms import truth_of
from training.single_slice import sagittal_slice

MARGIN_PACKS = ("spider_midsagittal", "sudirman_sagittal")
PHANTOM_SEED = 20_241
REACH_MM = {"level": WITHIN_MM, "foramen": WITHIN_MM, "recess": RECESS_WITHIN_MM}
GROUPS = 5
"""Parts into which studies are split to fit on some and to look at the others."""

EDGES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0)
SHRINKAGE = 1e-4
"""Weight of the squared slopes, which keeps them finite."""

FoundPoint = tuple[str, NDArray[np.float64], float]
"""Study, features and distance of a point, as in `FoundPoints`."""


@dataclass(frozen=True, eq=False)
class FoundPoints:
    """Points found by the kernel beside the marks of readers.

    Attributes:
        study: (n,) study or patient.
        features: (n, k) what speaks for each.
        distance: (n,) mm to the mark.
        within_mm: distance within which a point is right.
    """

    study: NDArray[np.str_]
    features: NDArray[np.float64]
    distance: NDArray[np.float64]
    within_mm: float = WITHIN_MM

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,) whether each lies so near to the mark."""
        return self.distance < self.within_mm


def _joined(rows: Iterable[FoundPoint], of: str, *, within_mm: float = WITHIN_MM) -> FoundPoints:
    """Points of something; raises ValueError, which names it, where there are none."""
    if not (every := list(rows)):
        msg = f"there is no marked point of {of} that a localiser found: is the pack there?"
        raise ValueError(msg)
    study, features, distance = zip(*every, strict=True)
    return FoundPoints(np.array(study), np.array(features), np.array(distance), within_mm)


def found_margins(data: Path, checkpoints: FoldCheckpoints[HeatmapNet]) -> FoundPoints:
    """Disc margins on single mid-sagittal slices, in millimetres that give the steps between marks their usual mean."""
    rows = (
        row
        for pack in MARGIN_PACKS
        if (data / pack).is_dir()
        for weighting in ("t1", "t2")
        for row in _margins_of([mark for mark in marked_slices(data, pack) if mark.weighting == weighting], checkpoints)
    )
    return _joined(rows, " and ".join(MARGIN_PACKS))


def _margins_of(marks: Sequence[MarkedSlice], checkpoints: FoldCheckpoints[HeatmapNet]) -> Iterator[FoundPoint]:
    for chosen, nets in checkpoints.of_rows([mark.fold for mark in marks]):
        for mark in (marks[index] for index in chosen):
            size = np.array([mark.rows, mark.columns])
            step = np.nanmean(np.linalg.norm(np.diff(mark.discs * size, axis=0), axis=1))
            field = STEP_MM / step * size.max()
            item = sagittal_slice(mark.picture, rows=mark.rows, columns=mark.columns, field_mm=field)
            maps = slice_maps([item], nets)
            try:
                points, _ = decode_levels(gather(maps, channels=MARGINS))
            except LocalisationError:
                continue
            features = confidence.level_features(maps, points)
            truth = item.plane.to_mm(mark.discs * np.array(item.plane.shape) - 0.5)
            for level in np.flatnonzero(~np.isnan(truth[:, 0])):
                yield mark.group, features[level], float(np.linalg.norm(points[level] - truth[level]))


def found_foramina(data: Path, checkpoints: FoldCheckpoints[HeatmapNet]) -> FoundPoints:
    """Foramina on the slices of a T1 series that the pack holds, at their true lateral places.

    The pack holds lateral slices only, so that the levels come from the foramina rather than from the disc margins.
    Series without ImagePositionPatient are left out.
    """
    rows = (row for marks, slices in _placed_series(data) for row in _foramina_of(marks, slices, checkpoints))
    return _joined(rows, "sagittal_t1")


def _placed_series(data: Path) -> Iterator[tuple[pd.DataFrame, dict[int, Slice]]]:
    for series in foraminal_series(data):
        lateral = series.marks.groupby("instance_number")["x_pos"].first()
        if lateral.isna().any() or not series.slices or series.marks["study_id"].iloc[0] in HELD_OUT_STUDIES:
            continue
        slices = {}
        for instance, x in zip(lateral.index.astype(int), lateral, strict=True):
            item = series.slices[instance]
            slices[instance] = replace(item, plane=replace(item.plane, origin=np.array([x, 0.0, 0.0])))
        yield series.marks, slices


def _foramina_of(
    marks: pd.DataFrame, slices: dict[int, Slice], checkpoints: FoldCheckpoints[HeatmapNet]
) -> Iterator[FoundPoint]:
    for _, nets in checkpoints.of_rows([marks["fold"].iloc[0]]):
        maps = slice_maps(list(slices.values()), nets)
        try:
            expected, _ = decode_levels(gather(maps, channels=FORAMINA))
        except LocalisationError:
            return
        points, _ = find_foramina([maps], expected)
        features = confidence.foramen_features(maps, points)
        for mark in marks.drop_duplicates(["condition", "level"]).to_dict("records"):
            level, side = LEVEL_INDEX[mark["level"]], SIDES.index(mark["condition"].split("_")[0])
            truth = mark_point(slices[int(mark["instance_number"])], pd.Series(mark))
            yield mark["study_id"], features[level, side], float(np.linalg.norm(points[level, side] - truth))


def found_recesses(data: Path, checkpoints: FoldCheckpoints[HeatmapNet]) -> FoundPoints:
    """Recesses on the middle slices of axial crops, in millimetres of the usual field of view."""
    crops = [crop for crop in axial_crops(data) if crop.study_id not in HELD_OUT_STUDIES]
    rows: list[FoundPoint] = []
    for chosen, nets in checkpoints.of_rows([crop.fold for crop in crops]):
        items = [axial_slices(crops[index])[1] for index in chosen]
        found = recesses_on(items, np.zeros((len(items), 3)), nets)
        for index, item, level in zip(chosen, items, found, strict=True):
            crop = crops[index]
            margin = (np.array(item.plane.shape) - crop.shape) / 2
            offset = np.linalg.norm(item.plane.to_mm(crop.recesses + margin) - level.recesses, axis=1)
            rows += [(crop.study_id, level.evidence[[side]], offset[side]) for side in (0, 1) if offset[side] >= 0]
    return _joined(rows, "axial_t2_crops", within_mm=RECESS_WITHIN_MM)


def whole_studies(phantoms: int) -> Iterator[tuple[Study, StudyTruth]]:
    """Complete phantom studies with their truth, the first of every four without T1."""
    for index in range(phantoms):
        made = dataset_study(PHANTOM_SEED, index)
        study = made.study
        if index % 4 == 0:
            study = study.without(SAGITTAL_T1)
        yield study, truth_of(made.truth)


def found_in_studies(
    studies: Iterable[tuple[Study, StudyTruth]], sagittal: Sequence[HeatmapNet], axial: Sequence[HeatmapNet]
) -> dict[str, FoundPoints]:
    """The points of complete studies by kind, as the kernel finds them; the features end in its own confidence."""
    rows: dict[str, list[FoundPoint]] = {kind: [] for kind in REACH_MM}
    for study, truth in studies:
        t1, t2 = study.slices(SAGITTAL_T1), study.slices(SAGITTAL_T2)
        maps = slice_maps((*t1, *t2), sagittal)
        found = decode(maps[: len(t1)], maps[len(t1) :])
        _, recesses = axial_levels(study, found, axial)
        off = np.linalg.norm((found.disc_margin - truth.disc_margin)[:, 1:], axis=1)
        aside = np.linalg.norm(found.foramina - truth.foramina, axis=2)
        for level in range(len(LEVELS)):
            rows["level"].append((study.study_id, found.confidence[[level]], off[level]))
            for side in range(len(SIDES)):
                rows["foramen"].append((study.study_id, found.foramen_confidence[level, [side]], aside[level, side]))
                seen = recesses[level]
                if seen is not None:
                    offset = seen.recesses[side] - truth.recesses[level, side]
                    error = float(np.linalg.norm(offset - (offset @ seen.item.plane.normal) * seen.item.plane.normal))
                    own = seen.confidence[[side]] * found.confidence[level]
                    rows["recess"].append((study.study_id, own, error))
    finite = {kind: [row for row in of_kind if np.isfinite(row[2])] for kind, of_kind in rows.items()}
    return {kind: _joined(own, kind, within_mm=REACH_MM[kind]) for kind, own in finite.items() if own}


def fit(features: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intercept and slopes, none below zero, of the logistic model with the least log loss."""
    inputs = np.column_stack([np.ones(len(features)), features])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = inputs @ weights
        slopes = np.concatenate([[0.0], weights[1:]])
        value = np.mean(np.logaddexp(0, logits) - right * logits) + SHRINKAGE * (slopes**2).sum()
        gradient = inputs.T @ (1 / (1 + np.exp(-logits)) - right) / len(right) + 2 * SHRINKAGE * slopes
        return float(value), gradient

    bounds = [(None, None)] + [(0.0, None)] * features.shape[1]
    return np.asarray(minimize(loss, np.zeros(inputs.shape[1]), jac=True, bounds=bounds).x)


def fitted_on_others(found: FoundPoints) -> NDArray[np.float64]:
    """The confidence of each point by models fitted on other studies, (n,)."""
    names = np.unique(found.study)
    part = np.random.default_rng(0).permutation(len(names))[np.searchsorted(names, found.study)] % GROUPS
    estimated = np.empty(len(part))
    for group in range(GROUPS):
        held = part == group
        weights = fit(found.features[~held], found.right[~held])
        estimated[held] = probability(found.features[held], weights.tolist())
    return estimated


def log_loss(right: NDArray[np.bool_], estimated: NDArray[np.float64]) -> float:
    """Mean log loss of probabilities that points are right."""
    clipped = np.clip(estimated, 1e-3, 1 - 1e-3)
    return float(-np.where(right, np.log(clipped), np.log1p(-clipped)).mean())


def reliability_rows(
    right: NDArray[np.bool_], estimated: NDArray[np.float64]
) -> Iterator[tuple[str, int, float, float]]:
    """Bin, points, mean confidence and fraction of right points of each bin that is not empty."""
    for low, high in itertools.pairwise(EDGES):
        held = (estimated >= low) & ((estimated < high) | (high == EDGES[-1]))
        if held.any():
            yield f"{low:.2f} to {high:.2f}", int(held.sum()), estimated[held].mean(), right[held].mean()


def _print_reliability(kind: str, found: FoundPoints, estimated: NDArray[np.float64]) -> None:
    for name, count, mean, observed in reliability_rows(found.right, estimated):
        print(f"| {kind} | {name} | {count} | {mean:.3f} | {observed:.3f} |")


def main() -> None:
    """Fit, print coefficients and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--weights", type=Path, help="folder with manifest.json (default: the package's own)")
    parser.add_argument("--phantoms", type=int, default=24, metavar="N", help="phantom studies to look at")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    manifest = read_manifest(arguments.weights)
    sagittal, axial = (exported(manifest, spec, out_of_fold=True) for spec in (manifest.sagittal, manifest.axial))
    packs = {
        "level": found_margins(arguments.data, sagittal),
        "foramen": found_foramina(arguments.data, sagittal),
        "recess": found_recesses(arguments.data, axial),
    }
    print(
        "| point | points | studies | within | coefficients | log loss | of a constant |\n|---|---|---|---|---|---|---|"
    )
    held_out = {}
    for kind, found in packs.items():
        held_out[kind] = fitted_on_others(found)
        weights = ", ".join(f"{value:.2f}" for value in fit(found.features, found.right))
        share = found.right.mean()
        losses = (log_loss(found.right, held_out[kind]), log_loss(found.right, np.full(len(found.right), share)))
        cells = (len(found.right), len(set(found.study)), f"{share:.3f} in {found.within_mm:g} mm", f"({weights})")
        print(f"| {kind} | {' | '.join(map(str, cells))} | {losses[0]:.3f} | {losses[1]:.3f} |")
    print("\n| point | confidence | points | mean confidence | right |\n|---|---|---|---|---|")
    for kind, found in packs.items():
        _print_reliability(kind, found, held_out[kind])
    whole = {"phantom": whole_studies(arguments.phantoms), "real": complete_studies(arguments.data)}
    for source, studies in whole.items():
        for kind, found in found_in_studies(studies, sagittal.all_nets, axial.all_nets).items():
            _print_reliability(f"{source} {kind}", found, found.features[:, 0])


if __name__ == "__main__":
    main()
