"""What the members say of the graded crops of the packs, each for itself and together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.models.manifest import Manifest
from lumbar_kernel.schema import CANAL, FORAMINAL, SUBARTICULAR
from lumbar_kernel.views import VIEWS
from training.evaluation_metrics import Graded
from training.examples import GradeExamples
from training.predictions import axial_crops, graded, marked_foramina, member_grades


@dataclass(frozen=True)
class Setting:
    """What to measure, on what."""

    data: Path
    manifest: Manifest
    out_of_fold: bool


@dataclass(frozen=True, eq=False)
class Verdict:
    """What each member of a view says of crops, for one condition.

    Attributes:
        view: key of `crop.VIEWS`.
        group: the condition.
        examples: the crops.
        said: member → (n, heads, 3) probabilities, NaN where none of its checkpoints may judge.
    """

    view: str
    group: str
    examples: GradeExamples
    said: Mapping[str, NDArray[np.float64]]

    @property
    def head(self) -> int:
        """Index of the condition among the view's."""
        return VIEWS[self.view].groups.index(self.group)

    def together(self, shares: Mapping[str, float]) -> Graded:
        """The mean of the members that may judge each crop, weighted by their shares, as rows."""
        total, weight = np.zeros((len(self.examples.images), 3)), np.zeros((len(self.examples.images), 1))
        for name, share in shares.items():
            total += share * np.nan_to_num(self.said[name][:, self.head])
            weight += share * ~np.isnan(self.said[name][:, self.head, :1])
        with np.errstate(invalid="ignore"):
            mean = np.where(weight > 0, total / weight, np.nan)
        return graded(self.examples, mean, self.head)

    def where_all_judge(self) -> Verdict:
        """The same without the crops that some member may not judge."""
        barred = np.any([np.isnan(one[:, 0, 0]) for one in self.said.values()], axis=0)
        said = {name: np.where(barred[:, None, None], np.nan, one) for name, one in self.said.items()}
        return Verdict(self.view, self.group, self.examples, said)


def graded_packs(data: Path) -> Iterator[tuple[str, str, str, GradeExamples]]:
    """Figure name, view, condition and crops of every pack of graded crops that is there."""
    if (data / "sagittal_t1").is_dir():
        yield "foraminal_marked", "sagittal_t1", FORAMINAL, marked_foramina(data)
    if (data / "axial_t2_crops").is_dir():
        crops = axial_crops(data)
        yield "canal_axial", "axial_t2", CANAL, crops
        yield "subarticular_axial", "axial_t2", SUBARTICULAR, crops


def verdicts(setting: Setting) -> dict[str, Verdict]:
    """Figure name → what the members say of each pack that is there."""
    found: dict[str, Verdict] = {}
    said: dict[str, Mapping[str, NDArray[np.float64]]] = {}
    for name, view, group, examples in graded_packs(setting.data):
        if view not in said:  # all conditions of a view are graded at once
            said[view] = member_grades(setting.manifest, view, examples, out_of_fold=setting.out_of_fold)
        found[name] = Verdict(view, group, examples, said[view])
    return found


def member_shares(manifest: Manifest, view: str, group: str) -> dict[str, float]:
    """The ensemble weight of each member of a view for a condition."""
    head = VIEWS[view].groups.index(group)
    return {spec.name: spec.ensemble_weight[head] for spec in manifest.members if spec.view == view}


def ensemble_rows(manifest: Manifest, verdict: Verdict) -> Graded:
    """The calibrated verdict of a view's members together; members of other views have no say here."""
    rows = verdict.together(member_shares(manifest, verdict.view, verdict.group))
    return rows.replace(manifest.calibration.of_group(rows.probabilities, verdict.group))


def grading(manifest: Manifest, verdicts: Mapping[str, Verdict]) -> dict[str, tuple[str, Graded]]:
    """Figure name → condition and the rows that the ensemble graded."""
    return {name: (verdict.group, ensemble_rows(manifest, verdict)) for name, verdict in verdicts.items()}


def member_rows(verdicts: Mapping[str, Verdict]) -> Iterator[tuple[str, str, Graded]]:
    """Figure name, member and the rows that it may judge, uncalibrated."""
    for name, verdict in verdicts.items():
        for member in verdict.said:
            yield name, member, verdict.together({member: 1.0})
