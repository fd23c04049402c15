"""Networks with the fold that each was trained without, and which of them may predict a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.models.checkpoints import load_localiser
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import LocaliserSpec, Manifest, WeightsFile
from training.run_results import settings_of
from training.trainer import Net, trained


@dataclass(frozen=True)
class FoldCheckpoints(Generic[Net]):
    """Checkpoints with the fold that each was trained without.

    Attributes:
        nets: (fold, net).
        out_of_fold: whether a row may only be predicted by networks trained without its fold.
    """

    nets: tuple[tuple[int, Net], ...]
    out_of_fold: bool

    @property
    def all_nets(self) -> list[Net]:
        """The networks of all folds."""
        return [net for _, net in self.nets]

    @classmethod
    def of(cls, files: Sequence[WeightsFile], nets: Sequence[Net], *, out_of_fold: bool) -> FoldCheckpoints[Net]:
        """Loaded checkpoints with their manifest entries."""
        return cls(tuple((file.fold, net) for file, net in zip(files, nets, strict=True)), out_of_fold)

    def of_rows(
        self, folds: Sequence[int] | NDArray[np.int8], *, others: bool = False
    ) -> Iterator[tuple[NDArray[np.intp], list[Net]]]:
        """Indices of rows with the networks that may predict them.

        Args:
            folds: of the rows.
            others: let all networks, which have seen them, predict the rows of folds that none was trained without;
                otherwise these rows are left out.
        """
        fold = np.asarray(folds)
        if not self.out_of_fold:
            yield np.arange(len(fold)), self.all_nets
            return
        for value in np.unique(fold):
            if nets := [net for net_fold, net in self.nets if net_fold == value]:
                yield np.flatnonzero(fold == value), nets
            elif others:
                yield np.flatnonzero(fold == value), self.all_nets


def exported(manifest: Manifest, spec: LocaliserSpec, *, out_of_fold: bool) -> FoldCheckpoints[HeatmapNet]:
    """The exported checkpoints of one of the localisers of a manifest."""
    return FoldCheckpoints.of(spec.files, load_localiser(spec, manifest.folder), out_of_fold=out_of_fold)


def localiser_runs(runs: Iterable[Path], *, points: int) -> FoldCheckpoints[HeatmapNet]:
    """The averaged weights of finished localiser runs, to be used out of fold.

    Raises:
        FileNotFoundError: a run is not finished.
    """
    nets = []
    for run in runs:
        settings = settings_of(run)
        nets.append((int(settings["fold"]), trained(HeatmapNet(settings["backbone"], points=points), run)))
    return FoldCheckpoints(tuple(nets), out_of_fold=True)
