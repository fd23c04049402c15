"""Predictions of the members for the graded crops of the packs, each alone and combined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.models.manifest import Manifest
from lumbar_kernel.schema import CANAL, FORAMINAL, SUBARTICULAR
from lumbar_kernel.views import VIEWS
from training.evaluation_metrics import GradedRows
from training.examples import GradeExamples
from training.predictions import axial_crops, marked_foramina, member_grades, rows_of_head


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
        group: the condition.
        examples: the crops.
        predictions: member → (n, heads, 3) probabilities, NaN where none of its checkpoints may be used.
    """

    view: str
    group: str
    examples: GradeExamples
    predictions: Mapping[str, NDArray[np.float64]]

    @property
    def head(self) -> int:
        """Index of the condition among the view's."""
        return VIEWS[self.view].groups.index(self.group)

    def combined(self, weights: Mapping[str, float]) -> GradedRows:
        """The weighted mean of the members that predict each crop, as rows."""
        total, weight = np.zeros((len(self.examples.images), 3)), np.zeros((len(self.examples.images), 1))
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
        return MemberPredictions(self.view, self.group, self.examples, kept)


def graded_crop_packs(data: Path) -> Iterator[tuple[str, str, str, GradeExamples]]:
    """Metric name, view, condition and crops of every pack of graded crops that exists."""
    if (data / "sagittal_t1").is_dir():
        yield "foraminal_marked", "sagittal_t1", FORAMINAL, marked_foramina(data)
    if (data / "axial_t2_crops").is_dir():
        crops = axial_crops(data)
        yield "canal_axial", "axial_t2", CANAL, crops
        yield "subarticular_axial", "axial_t2", SUBARTICULAR, crops


def predict_packs(setting: EvaluationSettings) -> dict[str, MemberPredictions]:
    """Metric name → predictions of the members for each pack that exists."""
    found: dict[str, MemberPredictions] = {}
    by_view: dict[str, Mapping[str, NDArray[np.float64]]] = {}
    for name, view, group, examples in graded_crop_packs(setting.data):
        if view not in by_view:  # all conditions of a view are graded at once
            by_view[view] = member_grades(setting.manifest, view, examples, out_of_fold=setting.out_of_fold)
        found[name] = MemberPredictions(view, group, examples, by_view[view])
    return found


def ensemble_weights(manifest: Manifest, view: str, group: str) -> dict[str, float]:
    """The ensemble weight of each member of a view for a condition."""
    return {spec.name: spec.weight(group) for spec in manifest.members if spec.view == view}


def ensemble_rows(manifest: Manifest, members: MemberPredictions) -> GradedRows:
    """The calibrated mean of a view's members; members of other views take no part."""
    rows = members.combined(ensemble_weights(manifest, members.view, members.group))
    return rows.replace(manifest.calibration.of_group(rows.probabilities, members.group))


def grade_packs(manifest: Manifest, packs: Mapping[str, MemberPredictions]) -> dict[str, tuple[str, GradedRows]]:
    """Metric name → condition and the rows that the ensemble graded."""
    return {name: (members.group, ensemble_rows(manifest, members)) for name, members in packs.items()}


def member_rows(packs: Mapping[str, MemberPredictions]) -> Iterator[tuple[str, str, GradedRows]]:
    """Metric name, member and the rows that it predicts, uncalibrated."""
    for name, members in packs.items():
        for member in members.predictions:
            yield name, member, members.combined({member: 1.0})
