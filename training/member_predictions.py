"""The crops of the packs that are graded, and the members' predictions for them, each alone and combined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.array_rows import select
from evaluation.constant_grades import prior_of
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import Manifest
from lumbar_kernel.schema import CANAL, FORAMINAL, SEVERITIES, SUBARTICULAR
from lumbar_kernel.views import VIEWS
from training.evaluation_metrics import GradedRows, RankedLevels
from training.examples import GradeExamples, without_held_out
from training.fold_checkpoints import FoldCheckpoints
from training.localised_foramina import LocalisedForamina
from training.pack_crops import axial, boxed_canals, foramina, has_neighbours
from training.predictions import member_grades, rows_of_head


@dataclass(frozen=True)
class EvaluationSettings:
    """The data and weights to evaluate, and whether out of fold."""

    data: Path
    manifest: Manifest
    out_of_fold: bool


@dataclass(frozen=True, eq=False)
class MemberPredictions:
    """Predictions of each member of a view for crops, for one condition.

    Attributes:
        view: key of `views.VIEWS`.
        condition: that they are graded for.
        examples: the crops.
        predictions: member → (n, heads, 3) probabilities, NaN where none of its checkpoints may be used.
        weight: row id → share of the members, 0..1, the rest is the prior's; empty where the place was given.
    """

    view: str
    condition: str
    examples: GradeExamples
    predictions: Mapping[str, NDArray[np.float64]]
    weight: Mapping[str, float] = field(default_factory=dict)

    @property
    def head(self) -> int:
        """Index of the condition among the view's."""
        return VIEWS[self.view].groups.index(self.condition)

    def combined(self, weights: Mapping[str, float]) -> GradedRows:
        """The weighted mean of the members that predict each crop, as rows."""
        count = len(self.examples.images)
        total, weight = np.zeros((count, len(SEVERITIES))), np.zeros((count, 1))
        for name, own_weight in weights.items():
            total += own_weight * np.nan_to_num(self.predictions[name][:, self.head])
            weight += own_weight * ~np.isnan(self.predictions[name][:, self.head, :1])
        with np.errstate(invalid="ignore"):
            mean = np.where(weight > 0, total / weight, np.nan)
        return rows_of_head(self.examples, mean, self.head)

    def where_all_predict(self) -> MemberPredictions:
        """The same without the crops that some member does not predict."""
        missing = np.any([np.isnan(own[:, 0, 0]) for own in self.predictions.values()], axis=0)
        kept = {name: np.where(missing[:, None, None], np.nan, own) for name, own in self.predictions.items()}
        return replace(self, predictions=kept)


@dataclass(frozen=True, eq=False)
class CropSet:
    """Crops of one view that the members grade, and the metrics that they give.

    Attributes:
        view: key of `views.VIEWS`.
        metrics: metric name → condition.
        examples: the crops.
        weight: row id → share of the members, 0..1, the rest is the prior's; empty where the place was given.
    """

    view: str
    metrics: Mapping[str, str]
    examples: GradeExamples
    weight: Mapping[str, float]

    def of_folds(self, folds: Sequence[int]) -> CropSet:
        """The crops of some folds."""
        return replace(self, examples=select(self.examples, np.isin(self.examples.fold, folds)))


def foraminal_sets(data: Path) -> Iterator[CropSet]:
    """The foramina of `sagittal_t1` at the marked points: on the marked slice, and on the one beside it."""
    for name, beside in (("foraminal_marked", False), ("foraminal_neighbour", True)):
        if has_neighbours(data) or not beside:
            crops = without_held_out(foramina(data, neighbour=beside))
            yield CropSet("sagittal_t1", {name: FORAMINAL}, crops, {})


def localised_set(name: str, found: LocalisedForamina) -> CropSet:
    """The same foramina where the kernel finds them, as a metric of some name."""
    return CropSet("sagittal_t1", {name: FORAMINAL}, found.crops, found.weight)


def axial_set(data: Path, recesses: FoldCheckpoints[HeatmapNet], *, shifted: bool = False) -> CropSet:
    """The axial crops at the recesses that the kernel finds, around the marked slice or its neighbour."""
    ending = "_shifted" if shifted else ""
    metrics = {f"canal_axial{ending}": CANAL, f"subarticular_axial{ending}": SUBARTICULAR}
    return CropSet("axial_t2", metrics, without_held_out(axial(data, recesses, shifted=shifted)), {})


def predict_sets(settings: EvaluationSettings, sets: Iterable[CropSet]) -> dict[str, MemberPredictions]:
    """Metric name → predictions of the members."""
    found: dict[str, MemberPredictions] = {}
    for item in sets:
        grades = member_grades(settings.manifest, item.view, item.examples, out_of_fold=settings.out_of_fold)
        for name, condition in item.metrics.items():
            found[name] = MemberPredictions(item.view, condition, item.examples, grades, item.weight)
    return found


def ensemble_weights(manifest: Manifest, view: str, condition: str) -> dict[str, float]:
    """The ensemble weight of each member of a view for a condition."""
    return {spec.name: spec.weight(condition) for spec in manifest.members if spec.view == view}


def ensemble_rows(manifest: Manifest, members: MemberPredictions) -> GradedRows:
    """The calibrated mean of a view's members, blended with the prior where the place is unsure.

    Members of other views take no part.
    """
    rows = members.combined(ensemble_weights(manifest, members.view, members.condition))
    graded = replace(rows, probabilities=manifest.calibration.of_group(rows.probabilities, members.condition))
    if not members.weight:
        return graded
    weight = np.array([members.weight[str(row)] for row in graded.row_id])[:, None]
    blended = weight * graded.probabilities + (1 - weight) * prior_of(graded.row_id)
    return replace(graded, probabilities=blended)


def grade_sets(manifest: Manifest, sets: Mapping[str, MemberPredictions]) -> dict[str, GradedRows]:
    """Metric name → the rows that the ensemble graded."""
    return {name: ensemble_rows(manifest, members) for name, members in sets.items()}


def member_rows(sets: Mapping[str, MemberPredictions]) -> Iterator[tuple[str, str, GradedRows]]:
    """Metric name, member and the rows that it predicts, uncalibrated."""
    for name, members in sets.items():
        for member in members.predictions:
            yield name, member, members.combined({member: 1.0})


def ranked_canals(settings: EvaluationSettings) -> RankedLevels:
    """Sudirman's levels with and without a stenosis box, with the narrowing that sagittal T2 members predict."""
    examples, boxed = boxed_canals(settings.data)
    predicted = member_grades(settings.manifest, "sagittal_t2", examples, out_of_fold=settings.out_of_fold)
    narrowing = np.mean([grades[:, 0, 1:].sum(axis=1) for grades in predicted.values()], axis=0)
    usable = ~np.isnan(narrowing)
    return RankedLevels(examples.group[usable], examples.level[usable], boxed[usable], narrowing[usable])
