"""Out-of-fold predictions of whole labelled studies: `python -m training.whole_studies COMPETITION WEIGHTS OUT`.

Every study goes through the whole kernel, with the checkpoints that were trained without its fold alone: levels, slices
and points are the kernel's own, as they will be in use. Finished studies are kept in OUT, so that it can be resumed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.grading.grader import grade_by_member
from lumbar_kernel.kernel import locate
from lumbar_kernel.models.checkpoints import LoadedModels, load_networks
from lumbar_kernel.models.manifest import LocaliserSpec, Manifest, MemberSpec, WeightsFile, read_manifest
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.runtime.study_loader import StudyLoader
from lumbar_kernel.schema import ROWS
from lumbar_kernel.study import Study, StudyFiles
from training.competition import fold_of, labelled_studies, read_folds
from training.examples import write_npz
from training.trainer import pick_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StudyPredictions:
    """What every member predicts for one study that it was not trained on.

    Attributes:
        study_id: of the study.
        fold: of the study.
        weight: (25,) share of the members in each row, the rest is the prior's; zero where no levels were found.
        predictions: member → (25, 3), rows as in `schema.ROWS`, NaN where it cannot grade.
    """

    study_id: str
    fold: int
    weight: NDArray[np.float64]
    predictions: Mapping[str, NDArray[np.float64]]

    def save(self, folder: Path) -> None:
        """Write the predictions into a file of the folder."""
        members = {f"member_{name}": own for name, own in self.predictions.items()}
        packed = io.BytesIO()
        write_npz(packed, {"fold": self.fold, "weight": self.weight, **members})
        write_atomic(packed.getvalue(), self.path(folder, self.study_id))

    @staticmethod
    def path(folder: Path, study_id: str) -> Path:
        """The file of a study in the folder."""
        return folder / f"{study_id}.npz"

    @classmethod
    def load(cls, path: Path) -> StudyPredictions:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            members = {key.removeprefix("member_"): stored[key] for key in stored.files if key.startswith("member_")}
            return cls(path.stem, int(stored["fold"]), stored["weight"], members)


def weights_key(manifest: Manifest) -> str:
    """A name for the checkpoints of a manifest, whatever their weights in the ensemble and their calibration."""
    specs: tuple[LocaliserSpec | MemberSpec, ...] = (manifest.sagittal, manifest.axial, *manifest.members)
    return hashlib.sha256(" ".join(item.sha256 for spec in specs for item in spec.files).encode()).hexdigest()[:16]


def of_fold(manifest: Manifest, fold: int) -> Manifest | None:
    """The manifest with those checkpoints alone that were trained without a fold; None without a sagittal localiser."""

    def kept(files: Iterable[WeightsFile]) -> tuple[WeightsFile, ...]:
        return tuple(item for item in files if item.fold == fold)

    sagittal, axial = (replace(spec, files=kept(spec.files)) for spec in (manifest.sagittal, manifest.axial))
    if not sagittal.files:
        return None
    members = (replace(spec, files=kept(spec.files)) for spec in manifest.members)
    return replace(manifest, sagittal=sagittal, axial=axial, members=tuple(spec for spec in members if spec.files))


def predict_study(study: Study, models: LoadedModels, *, fold: int) -> StudyPredictions:
    """Every member's grades of a study; none where the kernel finds no levels."""
    try:
        found = locate(study, models)
    except LocalisationError as error:
        logger.warning("%s: %s", study.study_id, error)
        return StudyPredictions(study.study_id, fold, np.zeros(len(ROWS)), {})
    return StudyPredictions(study.study_id, fold, found.weight, grade_by_member(found.crops, models))


def predict_all(
    data: Path, manifest: Manifest, folder: Path, *, folds: Mapping[str, int], workers: int
) -> Iterator[StudyPredictions]:
    """The predictions of all labelled studies whose fold has checkpoints, from the folder where they are done.

    A study that cannot be read is left out with a warning.

    Args:
        data: the competition's folder.
        manifest: of the weights.
        folder: keeps finished studies, apart for every set of weights.
        folds: study → fold; a hash decides for the others.
        workers: processes that read, each one study ahead.
    """
    kept = folder / weights_key(manifest)
    kept.mkdir(parents=True, exist_ok=True)
    by_fold: dict[int, list[StudyFiles]] = {}
    for files in labelled_studies(data):
        by_fold.setdefault(fold_of(files.study_id, folds), []).append(files)
    for fold, studies in sorted(by_fold.items()):
        own = of_fold(manifest, fold)
        if own is None:
            logger.warning("fold %d: no localiser was trained without it, %d studies left out", fold, len(studies))
            continue
        waiting: list[StudyFiles] = []
        for files in studies:
            if (path := StudyPredictions.path(kept, files.study_id)).exists():
                yield StudyPredictions.load(path)
            else:
                waiting.append(files)
        if not waiting:
            continue
        models, _ = load_networks(own, str(pick_device()), strict=True)
        with StudyLoader(waiting, workers=workers, ahead=workers) as loader:
            for result in tqdm(loader, total=len(waiting), unit="study", desc=f"fold {fold}"):
                if result.study is None:
                    logger.warning("%s is left out: %s", result.files.study_id, result.error)
                    continue
                predicted = predict_study(result.study, models, fold=fold)
                predicted.save(kept)
                yield predicted


def main() -> None:
    """Predict all labelled studies and log how many there are."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, metavar="COMPETITION")
    parser.add_argument("weights", type=Path, metavar="WEIGHTS")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--folds", type=Path, help="csv with study_id and fold; without it a hash decides")
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes (default: as many as cores)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    manifest, folds = read_manifest(arguments.weights), read_folds(arguments.folds)
    found = sum(1 for _ in predict_all(arguments.data, manifest, arguments.out, folds=folds, workers=arguments.workers))
    logger.info("predictions of %d studies", found)


if __name__ == "__main__":
    main()
