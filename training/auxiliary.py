"""Auxiliary heads: what a grader also predicts while it learns, and does not keep.

A crop tells something of the other conditions of its level, and of its own conditions at the levels beside it.
Predicting them too asks more of the features than a single reader's opinion does (multi-task learning, Caruana 1997,
doi:10.1023/A:1007379606734).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.schema import GROUPS, LEVELS, SEVERITIES, SIDED, SIDES, TARGETS, Target, split_row_id
from training.examples import GradeExamples

BY_ROW = {target.row: target for target in TARGETS}


class AuxiliaryGradeNet(GradeNet):
    """A grader with further heads, which a `GradeNet` that loads its other weights leaves out.

    Args:
        backbone: as for `GradeNet`, like all arguments but `auxiliary`.
        in_chans: as for `GradeNet`.
        heads: as for `GradeNet`.
        auxiliary: further heads.
        drop_rate: as for `GradeNet`.
        fixed_count: as for `GradeNet`.
    """

    def __init__(
        self,
        backbone: str,
        *,
        in_chans: int,
        heads: int,
        auxiliary: int,
        drop_rate: float = 0.0,
        fixed_count: bool = False,
    ) -> None:
        super().__init__(backbone, in_chans=in_chans, heads=heads, drop_rate=drop_rate, fixed_count=fixed_count)
        self.auxiliary = nn.Linear(self.classifier.in_features + len(LEVELS), auxiliary * len(SEVERITIES))

    def every_head(self, images: Tensor, level: Tensor, shown: Tensor) -> Tensor:
        """Logits (batch, heads and auxiliary ones, 3) of crops, which are given as in `GradeNet.forward`."""
        features = self.features(images, shown)
        known = F.one_hot(level, len(LEVELS)).to(features.dtype)
        further: Tensor = self.auxiliary(torch.cat([self.drop(features), known], dim=1))
        return torch.cat([self.logits(features, level), further.reshape(len(level), -1, len(SEVERITIES))], dim=1)


def without_auxiliary(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network by name, without those of auxiliary heads."""
    return {name: value for name, value in weights.items() if not name.startswith("auxiliary.")}


def with_auxiliary(examples: GradeExamples, grades: Mapping[str, int]) -> GradeExamples:
    """Examples with a label and a row for each auxiliary head behind those of their own ones.

    Args:
        examples: of one task.
        grades: submission row → grade, as from `read_grades`.
    """
    rows = [related(own) for own in examples.row_id.tolist()]
    heads = max(map(len, rows))
    padded = [[*further, *[""] * (heads - len(further))] for further in rows]
    labels = np.array([[grades.get(row, -1) for row in further] for further in padded], np.int8)
    return replace(
        examples,
        labels=np.concatenate([examples.labels, labels], axis=1),
        row_id=np.concatenate([examples.row_id, np.array(padded)], axis=1),
    )


def read_grades(files: Iterable[Path]) -> dict[str, int]:
    """The grade of every submission row that any of the files of `GradeExamples` holds."""
    grades: dict[str, int] = {}
    for path in files:
        with np.load(path) as stored:  # which leaves the pictures where they are
            labelled = stored["labels"] >= 0
            grades |= zip(stored["row_id"][labelled].tolist(), stored["labels"][labelled].tolist(), strict=True)
    grades.pop("", None)
    return grades


def related(row_ids: Sequence[str]) -> list[str]:
    """The submission rows that a crop's auxiliary heads predict, "" for one that does not exist.

    These are the other conditions of the level, on the crop's side where it has one, else on both, and the crop's own
    conditions at the levels beside it.

    Args:
        row_ids: rows of the crop's own heads; nothing is related to a crop without any.
    """
    own = [(study, BY_ROW[row]) for study, row in map(split_row_id, filter(None, row_ids))]
    if not own:
        return []
    study, first = own[0]
    groups, sides = {target.group for _, target in own}, sorted({target.side for _, target in own if target.side})
    others = [
        Target(group, side, first.level)
        for group in GROUPS
        if group not in groups
        for side in ((sides or SIDES) if group in SIDED else ("",))
    ]
    beside = [_at_level(target, LEVELS.index(target.level) + step) for _, target in own for step in (-1, 1)]
    return [f"{study}_{target.row}" if target else "" for target in (*others, *beside)]


def _at_level(target: Target, level: int) -> Target | None:
    """The same target at another level; None where there is no such level."""
    return replace(target, level=LEVELS[level]) if 0 <= level < len(LEVELS) else None
