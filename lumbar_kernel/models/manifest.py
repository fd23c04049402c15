"""`weights/manifest.json` → checked specs of every net; free of torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lumbar_kernel.errors import WeightsError
from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.schema import GROUPS, LEVELS, SEVERITIES, SIDES
from lumbar_kernel.views import VIEWS

FORMAT_VERSION = 3
"""Since version 3 weights may be stored as 8-bit integers."""

MANIFEST = "manifest.json"

LANDMARKS = {"sagittal": 2 * len(LEVELS), "axial": len(SIDES)}
"""What each localiser finds: disc margin and foramen of every level, and the recess of both sides."""

WAITING = "wait for reading"
"""The stage in which a worker waits for the study loader, which has time limits of its own."""

STAGES = {WAITING: 1.0, "align": 0.2, "localise": 1.0, "axial": 0.2, "crop": 0.2}
"""Stages before grading, and seconds a study to expect of each where a manifest gives none."""


@dataclass(frozen=True)
class WeightsFile:
    """One safetensors file: name, SHA-256 of its bytes, and the fold its training left out."""

    file: str
    sha256: str
    fold: int


@dataclass(frozen=True)
class LocaliserSpec:
    """A heatmap net: timm architecture, landmarks and the checkpoints whose maps are averaged."""

    name: str
    architecture: str
    points: int
    files: tuple[WeightsFile, ...]


@dataclass(frozen=True)
class MemberSpec:
    """An ensemble member.

    Attributes:
        name: unique name.
        view: key of `views.VIEWS`.
        architecture: timm model name, or `compact_cnn.COMPACT_CNN`.
        in_chans: 1 when slices are encoded one by one and pooled, else the slices of a crop.
        ensemble_weight: one per condition, in the order of the view's groups.
        seconds_per_study: measured on two processor cores; the scheduler's initial estimate.
        gain: how far the mean of the three conditions' losses fell out of fold when this member joined the others.
        files: fold checkpoints, whose probabilities are averaged.
    """

    name: str
    view: str
    architecture: str
    in_chans: int
    ensemble_weight: tuple[float, ...]
    seconds_per_study: float
    gain: float
    files: tuple[WeightsFile, ...]

    @property
    def stage(self) -> str:
        """Name of the stage in which this member grades."""
        return f"grade {self.name}"

    def weight(self, group: str) -> float:
        """Ensemble weight for a condition, 0 where the member's view does not show it."""
        groups = VIEWS[self.view].groups
        return self.ensemble_weight[groups.index(group)] if group in groups else 0.0


@dataclass(frozen=True)
class Manifest:
    """What the weights folder holds.

    Attributes:
        folder: where the files lie.
        sha256: of the manifest itself; names the weights in reports.
        sagittal: localiser of the levels.
        axial: localiser of the recesses.
        members: graders, in the manifest's order.
        stage_seconds: of one study in each of `STAGES`, measured on two processor cores.
        calibration: fitted on out-of-fold predictions.
    """

    folder: Path
    sha256: str
    sagittal: LocaliserSpec
    axial: LocaliserSpec
    members: tuple[MemberSpec, ...]
    stage_seconds: Mapping[str, float]
    calibration: Calibration

    @property
    def views(self) -> tuple[str, ...]:
        """The views that some member grades."""
        return tuple(dict.fromkeys(spec.view for spec in self.members))


def weights_folder() -> Path:
    """The weights that come with the package: inside an installed wheel, beside the package in a checkout."""
    package = Path(str(files("lumbar_kernel")))
    inside = package / "weights"
    return inside if inside.is_dir() else package.parent / "weights"


def read_manifest(folder: Path | None = None) -> Manifest:
    """The checked manifest of a weights folder, the package's own when None.

    Raises:
        WeightsError: it is missing, of another format, for other levels or severities, or an entry cannot be used.
    """
    folder = folder or weights_folder()
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
        entry = json.loads(raw)
    except (OSError, ValueError, RecursionError) as error:
        msg = f"the weights manifest {path} cannot be read: {error}"
        raise WeightsError(msg) from error
    if not isinstance(entry, dict) or entry.get("format_version") != FORMAT_VERSION:
        msg = f"{path} is not a manifest of format {FORMAT_VERSION}; rebuild it with training.export"
        raise WeightsError(msg)
    for name, own in (("levels", LEVELS), ("severities", SEVERITIES)):
        if (made_for := entry.get(name, list(own))) != list(own):
            msg = f"the weights of {path} were made for other {name}: {made_for}"
            raise WeightsError(msg)
    try:
        localisers = {name: _localiser(name, value) for name, value in entry["localisers"].items()}
        return Manifest(
            folder=folder,
            sha256=hashlib.sha256(raw).hexdigest(),
            sagittal=localisers["sagittal"],
            axial=localisers["axial"],
            members=tuple(_member(name, value) for name, value in entry["members"].items()),
            stage_seconds=_stage_seconds(entry.get("stage_seconds", {})),
            calibration=Calibration.from_dict(entry["calibration"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        msg = f"an entry of {path} is missing or of the wrong kind: {error!r}"
        raise WeightsError(msg) from error


def _files(entries: Any) -> tuple[WeightsFile, ...]:
    found = tuple(WeightsFile(str(e["file"]), str(e["sha256"]), int(e["fold"])) for e in entries)
    if not found:
        msg = "an entry without files"
        raise ValueError(msg)
    if any(Path(item.file).name != item.file for item in found):
        msg = f"file names must have no folder: {[item.file for item in found]}"
        raise ValueError(msg)
    return found


def _localiser(name: str, entry: Mapping[str, Any]) -> LocaliserSpec:
    points = int(entry["points"])
    if points != LANDMARKS[name]:
        msg = f"the {name} localiser finds {points} points instead of {LANDMARKS[name]}: it was made for others"
        raise ValueError(msg)
    return LocaliserSpec(name, str(entry["architecture"]), points, _files(entry["files"]))


def _member(name: str, entry: Mapping[str, Any]) -> MemberSpec:
    view = VIEWS[entry["view"]]
    weights = entry["ensemble_weight"]
    if set(weights) - set(GROUPS) or not all(0 <= weights.get(group, 0) < math.inf for group in view.groups):
        msg = f"ensemble_weight of {name} must give a share from 0 to each of {view.groups}: {weights}"
        raise ValueError(msg)
    return MemberSpec(
        name=name,
        view=str(entry["view"]),
        architecture=str(entry["architecture"]),
        in_chans=int(entry["in_chans"]),
        ensemble_weight=tuple(float(weights.get(group, 0.0)) for group in view.groups),
        seconds_per_study=_seconds(entry["seconds_per_study"]),
        gain=float(entry.get("gain", 0.0)),
        files=_files(entry["files"]),
    )


def _stage_seconds(entry: Mapping[str, Any]) -> dict[str, float]:
    return {stage: _seconds(entry.get(stage, usual)) for stage, usual in STAGES.items()}


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not (math.isfinite(seconds) and seconds >= 0):
        msg = f"seconds must be finite and not negative, not {value!r}"
        raise ValueError(msg)
    return seconds
