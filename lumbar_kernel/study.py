"""The data types of a study: its files, then its series of decoded slices with their position in the patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.geometry import SlicePlane

REFORMATTED = " reformatted"
"""Ends the id of axial slices that are cut from a volume, after that of its series."""


@dataclass(frozen=True)
class SeriesFiles:
    """The files of one series.

    Attributes:
        series_id: folder name or SeriesInstanceUID.
        role: one of `schema.SERIES_DESCRIPTIONS` where a table or the user gives it, `schema.NO_ROLE` where the user
            leaves the series out, None where headers must decide.
        paths: sorted by name, numbers by value.
        part_roles: the same for parts of it, as pairs of an id (as in `SeriesDecision`) and a role of the user.
    """

    series_id: str
    role: str | None
    paths: tuple[Path, ...]
    part_roles: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class StudyFiles:
    """The files of one study.

    Attributes:
        study_id: name of its folder or StudyInstanceUID; never a path.
        series: empty for a study that only a table names.
        study_uid: StudyInstanceUID, empty where it was not needed or is absent.
        folder: that holds the study, relative to the data folder, empty for a study without files.
    """

    study_id: str
    series: tuple[SeriesFiles, ...]
    study_uid: str = ""
    folder: str = ""


@dataclass(frozen=True, eq=False)
class Slice:
    """One decoded slice with its position in the patient.

    Attributes:
        plane: position of the slice; `plane.shape` equals `pixels.shape`.
        pixels: (rows, columns) float32, bright means a strong signal (MONOCHROME1 is inverted on reading).
        instance_number: InstanceNumber, the number of the frame in a multi-frame file, or the number in the file name;
            None when there is none and for slices that were reformatted.
    """

    plane: SlicePlane
    pixels: NDArray[np.float32]
    instance_number: int | None

    @cached_property
    def is_blank(self) -> bool:
        """Whether all its pixels are alike, as in frames that were blanked."""
        return bool(self.pixels.min() == self.pixels.max())


@dataclass(frozen=True, eq=False)
class Series:
    """The usable slices of one series, sorted by position along their normal.

    Slices may differ in matrix, spacing and tilt (several blocks in one series): each carries its own plane.

    Attributes:
        series_id: folder name or SeriesInstanceUID.
        role: one of `schema.SERIES_DESCRIPTIONS`.
        slices: sorted by position; sagittal slices run from patient right to left (rising x), axial ones from
            caudal to cranial (rising position along the mean normal, blocks kept together).
    """

    series_id: str
    role: str
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class SeriesDecision:
    """What was decided about one series of a study, and why.

    Attributes:
        series_id: as in `Series`; images of several contrasts in one series are distinguished by a word after it.
        role: that it plays, None when it is not used.
        reason: what gave it its role, or why it is not used.
        description: SeriesDescription, else ProtocolName, else empty.
        image_type: values of ImageType, empty when absent.
        slices: how many it has in its plane.
        matrix: rows and columns of its middle slice.
        pixel_mm: row and column spacing of its middle slice.
        step_mm: median distance of neighbouring slices, 0 for a single one.
    """

    series_id: str
    role: str | None
    reason: str
    description: str = ""
    image_type: tuple[str, ...] = ()
    slices: int = 0
    matrix: tuple[int, int] = (0, 0)
    pixel_mm: tuple[float, float] = (0.0, 0.0)
    step_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class Study:
    """All usable series of one study, with what was refused and why.

    Attributes:
        study_id: folder name or StudyInstanceUID.
        series: every series with a role; a role may have none or several.
        problems: one sentence per file or slice that could not be used.
        decisions: one per series of the files, those that are not used included; empty for a study from arrays.
        volume: sagittal T2 slices at most 1.5 mm apart, from which axial ones can be reformatted; only where there is
            no axial series.
    """

    study_id: str
    series: tuple[Series, ...]
    problems: tuple[str, ...] = ()
    decisions: tuple[SeriesDecision, ...] = ()
    volume: Series | None = None

    def slices(self, role: str) -> tuple[Slice, ...]:
        """All slices of all series that play a role, series after series."""
        return tuple(item for series in self.series_of(role) for item in series.slices)

    def series_of(self, role: str) -> tuple[Series, ...]:
        """All series that play a role."""
        return tuple(series for series in self.series if series.role == role)

    def with_slices(self, role: str, change: Callable[[Slice], Slice]) -> Study:
        """The study with every slice that plays a role changed."""
        series = (
            replace(each, slices=tuple(map(change, each.slices))) if each.role == role else each for each in self.series
        )
        return replace(self, series=tuple(series))

    def without(self, role: str) -> Study:
        """The study without the series that play a role."""
        return replace(self, series=tuple(series for series in self.series if series.role != role))
