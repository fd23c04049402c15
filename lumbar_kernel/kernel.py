"""`Kernel`: one study at a time from Python, in this process, with the networks loaded once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.checks import require_finite
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.unpacking import unpacked
from lumbar_kernel.errors import ConfigError, StudyError
from lumbar_kernel.grading.crops import Crops, cut_crops
from lumbar_kernel.grading.ensemble import combine, row_weights
from lumbar_kernel.grading.grader import grade_by_member
from lumbar_kernel.localisation.axial import AxialLevels, axial_levels
from lumbar_kernel.localisation.landmarks import Landmarks, localise
from lumbar_kernel.localisation.reformat import with_reformatted_axials
from lumbar_kernel.localisation.series_shift import align_series
from lumbar_kernel.models.checkpoints import LoadedModels, load_models
from lumbar_kernel.results.pictures import add_grades, draw_study
from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.results.study_report import nothing_usable, study_report
from lumbar_kernel.results.tables import grade_rows, landmark_rows
from lumbar_kernel.runtime.devices import AUTO, find_devices
from lumbar_kernel.study import Study, StudyFiles


@dataclass(frozen=True, eq=False)
class Located:
    """What the members see of one study, how far it is trusted, and by what its series were moved; see `Grades`."""

    study: Study
    landmarks: Landmarks
    axial: AxialLevels
    crops: Mapping[str, Crops]
    weight: FloatArray
    moves: Mapping[str, FloatArray]


def locate(study: Study, models: LoadedModels) -> Located:
    """Align the series of a study, find its levels, foramina and recesses, and cut the crops that are graded.

    The stages of a run (`runtime.stages`) do the same in the same order, each guarded and timed.

    Raises:
        LocalisationError: no plausible five levels were found.
    """
    alignment = align_series(study)
    landmarks = alignment.confidence_in(localise(alignment.study, models.sagittal))
    study = with_reformatted_axials(alignment.study, landmarks)
    study, axial = axial_levels(study, landmarks, models.axial)
    crops = cut_crops(study, landmarks, axial, views=models.manifest.views)
    return Located(study, landmarks, axial, crops, row_weights(landmarks), alignment.moves)


@dataclass(frozen=True, eq=False)
class Grades:
    """The grades of one study.

    Attributes:
        study: that was graded.
        probabilities: (25, 3), rows as in `schema.ROWS`, columns as in `schema.SEVERITIES`, each row summing to one.
        graded: (25,) whether a member graded the row; the others hold the prior.
        weight: (25,) share of the kernel's own prediction in each row, 0 to 1; the rest is the prior's.
        landmarks: positions of the five levels, mm LPS, with their confidence.
        axial: the axial slice of each level with its recesses, None where there is none.
        crops: view → the crops that were graded.
        members: that took part.
        row_members: those that graded each of the 25 rows.
        report: series used, what was missing and why, as in `report.json`.
    """

    study: Study
    probabilities: FloatArray
    graded: NDArray[np.bool_]
    weight: FloatArray
    landmarks: Landmarks
    axial: AxialLevels
    crops: Mapping[str, Crops] = field(repr=False)
    members: tuple[str, ...]
    row_members: tuple[tuple[str, ...], ...]
    report: StudyReport = field(repr=False)

    def rows(self) -> list[dict[str, object]]:
        """The 25 grades as rows of `grades.csv`, ready for `pandas.DataFrame`."""
        return grade_rows(self.study.study_id, self.probabilities, self.row_members, self.report)

    def points(self) -> list[dict[str, object]]:
        """The landmarks as rows of `landmarks.csv`, mm LPS, ready for `pandas.DataFrame`."""
        return landmark_rows(self.report)

    def draw(self, folder: str | os.PathLike[str]) -> Path:
        """Draw slices with levels and points, crops and grades; returns the path of the picture, `<study_id>.jpg`."""
        missing = self.report.missing
        path = draw_study(self.study, self.landmarks, self.axial, self.crops, Path(folder), missing=missing)
        add_grades(path, self.probabilities, self.graded)
        return path


class Kernel:
    """The networks of a weights folder on one device.

    Args:
        weights: folder with `manifest.json`, None for the package's own.
        device: "auto", "cpu", "cuda" or "cuda:N"; auto takes the first GPU that works, else the CPU.

    Raises:
        ConfigError: the named device does not work.
        WeightsError: a network is missing or damaged.
    """

    def __init__(self, *, weights: str | os.PathLike[str] | None = None, device: str = AUTO) -> None:
        found = find_devices(device)
        found.require(device)
        self._models, _ = load_models(None if weights is None else Path(weights), found.working[0], strict=True)

    @property
    def device(self) -> str:
        """Name of the device that grades."""
        return str(self._models.device)

    def grade(self, study: Study | str | os.PathLike[str]) -> Grades:
        """Grade one study.

        Args:
            study: a `Study`, or a folder or archive that holds exactly one.

        Raises:
            ConfigError: the folder does not exist, or holds no study or several.
            StudyError: the study has no usable series.
            NotFiniteError: a pixel or a position is not a finite number.
            LocalisationError: no plausible five levels were found.
        """
        study = study if isinstance(study, Study) else _only_study(Path(study))
        if not study.series:
            raise StudyError(nothing_usable(study))
        require_finite(study)
        models = self._models
        found = locate(study, models)
        combined = combine(grade_by_member(found.crops, models), models.manifest, found.weight)
        return Grades(
            study=found.study,
            probabilities=combined.grades,
            graded=combined.graded,
            weight=combined.weight,
            landmarks=found.landmarks,
            axial=found.axial,
            crops=found.crops,
            members=combined.members,
            row_members=combined.row_members,
            report=study_report(found.study, found.axial, (), landmarks=found.landmarks, moves=found.moves),
        )


def read_studies(folder: str | os.PathLike[str], *, split: str = "test") -> Iterator[Study]:
    """The studies of a folder or archive one after the other, read from DICOM; `split` as for `Config`.

    Raises:
        ConfigError: the folder does not exist or cannot be listed.
    """
    with ExitStack() as stack:
        data, _ = stack.enter_context(unpacked(Path(folder)))
        found = find_studies(data, split=split)
        return _read_each(found, stack.pop_all())


def _read_each(found: Sequence[StudyFiles], resources: ExitStack) -> Iterator[Study]:
    with resources:
        yield from map(read_study, found)


def _only_study(folder: Path) -> Study:
    with unpacked(folder) as (data, _):
        found = find_studies(data)
        if len(found) != 1:
            names = f" ({', '.join(files.study_id for files in found[:3])} …)" if found else ""
            msg = f"{str(folder)!r} holds {len(found)} studies{names}; `read_studies` gives each"
            raise ConfigError(msg)
        return read_study(found[0])
