"""The manifest of a weights folder as training writes it; `lumbar_kernel.models.manifest` reads and checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.models.manifest import FORMAT_VERSION, MANIFEST
from lumbar_kernel.schema import LEVELS, SEVERITIES


class FileEntry(TypedDict):
    """One checkpoint."""

    file: str
    sha256: str
    bytes: int
    fold: int


class LocaliserEntry(TypedDict):
    """A localiser."""

    points: int
    architecture: str
    files: list[FileEntry]


class _Calibrated(TypedDict, total=False):
    gain: float
    initial_weight: dict[str, float]


class MemberEntry(_Calibrated):
    """An ensemble member; once it is calibrated, with its `gain` and, on whole studies, the weights that it had before.

    The kernel does not read `initial_weight`: a calibration that is repeated starts from it again.
    """

    view: str
    in_chans: int
    ensemble_weight: dict[str, float]
    seconds_per_study: float
    architecture: str
    files: list[FileEntry]


class _Optional(TypedDict, total=False):
    levels: list[str]
    severities: list[str]
    stage_seconds: dict[str, float]


class ManifestEntries(_Optional):
    """The whole manifest; without `stage_seconds` the kernel expects the usual ones, without `levels` its own."""

    format_version: int
    licence: str
    localisers: dict[str, LocaliserEntry]
    members: dict[str, MemberEntry]
    calibration: Mapping[str, object]


def empty() -> ManifestEntries:
    """A manifest without networks and calibration."""
    return {
        "format_version": FORMAT_VERSION,
        "licence": "CC-BY-NC-4.0",
        "levels": list(LEVELS),
        "severities": list(SEVERITIES),
        "localisers": {},
        "members": {},
        "calibration": Calibration().to_dict(),
    }


def read(weights: Path) -> ManifestEntries:
    """The entries of a weights folder."""
    entries: ManifestEntries = json.loads((weights / MANIFEST).read_text())
    return entries


def write(weights: Path, entries: ManifestEntries) -> None:
    """Replace the manifest of a weights folder."""
    (weights / MANIFEST).write_text(json.dumps(entries, indent=1) + "\n")
