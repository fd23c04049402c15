"""The record of a run: what was graded, what failed and why, and the time spent; written as `report.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lumbar_kernel.results.atomic import write_atomic

SCHEMA_VERSION = 2
"""Of the layout of `report.json`; rises when a property is removed or changes its meaning."""

EXIT_OK = 0
"""All of the work was done."""
EXIT_NOTHING = 1
"""No valid submission was written."""
EXIT_USAGE = 2
"""A path or option cannot work."""
EXIT_DEGRADED = 3
"""The submission is valid, but something is less than it could be; the report names it."""

NAMED_STUDIES = 10
NAMED_STAGES = 5


@dataclass(frozen=True)
class Failure:
    """An exception that the run survived: the stage, its type and its message."""

    stage: str
    type: str
    message: str

    @property
    def sentence(self) -> str:
        """All three in one line."""
        return f"{self.stage}: {self.type}: {self.message}"


@dataclass(frozen=True)
class SeriesReport:
    """A series that was used, its role and how many slices it gave, and why it was given this role."""

    series_id: str
    role: str
    slices: int
    description: str = ""
    reason: str = ""


@dataclass(frozen=True)
class UnusedSeries:
    """A series that was not used: its SeriesDescription, and why."""

    series_id: str
    description: str
    reason: str


@dataclass(frozen=True)
class LevelReport:
    """The points of one level, mm LPS in the coordinates of the files that show them, and the confidence in each.

    Attributes:
        canal: middle of the dural sac at the disc.
        foramina: by side.
        recesses: by side, None without an axial slice.
        axial_series_id: of the axial slice, None without one.
        axial_instance_number: of the axial slice, None without one.
        confidence: in the canal point, 0 to 1.
        foramen_confidence: in both foramina, in the order of `schema.SIDES`.
        recess_confidence: in both recesses, None without an axial slice.
    """

    canal: list[float]
    foramina: dict[str, list[float]]
    recesses: dict[str, list[float]] | None
    axial_series_id: str | None
    axial_instance_number: int | None
    confidence: float
    foramen_confidence: list[float]
    recess_confidence: list[float] | None


@dataclass(frozen=True)
class StudyReport:
    """What happened to one study.

    Attributes:
        study_id: as in the row ids.
        series: the series used.
        unused: the other series of its files.
        members: names of the members that graded it.
        missing: a sentence for each thing that was not there or was refused.
        failures: exceptions survived.
        confidence: of the five levels, 0 to 1, None when they were not located.
        landmarks: by level, None when there are none.
        graded_rows: how many of the 25 rows at least one member graded; the others hold the prior.
    """

    study_id: str
    series: tuple[SeriesReport, ...] = ()
    unused: tuple[UnusedSeries, ...] = ()
    members: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    confidence: float | None = None
    landmarks: dict[str, LevelReport] | None = None
    graded_rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What happened in one run.

    Attributes:
        schema_version: of the layout that `report_schema` describes.
        version: of the package.
        weights_sha256: of the manifest, which holds those of the files; empty when none could be read.
        device: that graded.
        studies: in the order of the submission.
        stages: seconds per stage.
        members: names of the members that graded every study they could.
        members_failed: name → reason of the members left out.
        failures: exceptions that belong to no single study, and processes or devices that were lost.
        notes: what the time allowed, where it was too short, what became of devices, and what stays of an earlier run.
        seconds: length of the run.
        budget_seconds: what was allowed, None without a limit.
        margin_seconds: what was left of it.
        exit_code: `EXIT_OK` or `EXIT_DEGRADED`.
    """

    schema_version: int = SCHEMA_VERSION
    version: str
    weights_sha256: str
    device: str
    studies: tuple[StudyReport, ...]
    stages: dict[str, float] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    members_failed: dict[str, str] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float
    budget_seconds: float | None = None
    margin_seconds: float | None = None
    exit_code: int

    @property
    def verdict(self) -> str:
        """The exit code in words."""
        return "all studies graded" if self.exit_code == EXIT_OK else "valid but degraded"

    def to_json(self) -> str:
        """The report as JSON; arrays become lists, numbers that are not finite become null."""
        return json.dumps(_plain(asdict(self)), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the report; its folder must exist."""
        write_atomic(self.to_json(), path)

    def summary(self) -> str:
        """A few lines for people: the verdict, the time, the members and every study that fell short."""
        graded = sum(study.graded_rows > 0 for study in self.studies)
        limit = "no limit"
        if self.budget_seconds is not None and self.margin_seconds is not None:
            limit = f"of {self.budget_seconds:.0f} s allowed, {self.margin_seconds:.1f} s left"
        longest = sorted(self.stages.items(), key=lambda item: -item[1])[:NAMED_STAGES]
        lines = [
            f"lumbar_kernel {self.version} on {self.device}: {self.verdict}",
            f"{graded} of {len(self.studies)} studies graded in {self.seconds:.1f} s ({limit})",
            f"members: {', '.join(self.members) or 'none'}",
            f"seconds: {', '.join(f'{stage} {seconds:.1f}' for stage, seconds in longest) or 'none spent'}",
        ]
        lines += self.notes
        lines += [f"member {name} left out: {reason}" for name, reason in self.members_failed.items()]
        lines += dict.fromkeys(failure.sentence for failure in self.failures)
        short = [(study, reason) for study in self.studies if (reason := _shortfall(study))]
        lines += [f"study {study.study_id}: {reason}" for study, reason in short[:NAMED_STUDIES]]
        if len(short) > NAMED_STUDIES:
            lines.append(f"and {len(short) - NAMED_STUDIES} more studies that report.json names")
        return "\n".join(lines)

    def table(self) -> list[dict[str, Any]]:
        """One row a study, for a table: the data used, the result, and what was missing."""
        return [
            {
                "study_id": study.study_id,
                "graded_rows": study.graded_rows,
                "confidence": study.confidence,
                "series": len(study.series),
                "slices": sum(series.slices for series in study.series),
                "members": ", ".join(study.members),
                "missing": "; ".join((*study.missing, *(failure.sentence for failure in study.failures))),
            }
            for study in self.studies
        ]


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `report.json`."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("report.schema.json").read_text(encoding="utf-8"))
    return schema


def _shortfall(study: StudyReport) -> str:
    """Why a study is less than fully graded, an empty text when it is not."""
    if study.failures:
        return study.failures[0].sentence
    if study.missing:
        return study.missing[0]
    return "" if study.graded_rows else "no member graded it, its rows hold the prior"


def study_report_from(entry: Mapping[str, Any]) -> StudyReport:
    """A study's part of the report from its JSON; raises TypeError or KeyError for another layout."""
    rebuilt = {
        "series": tuple(SeriesReport(**series) for series in entry["series"]),
        "unused": tuple(UnusedSeries(**series) for series in entry["unused"]),
        "failures": tuple(Failure(**failure) for failure in entry["failures"]),
        "members": tuple(entry["members"]),
        "missing": tuple(entry["missing"]),
        "landmarks": entry["landmarks"] and {key: LevelReport(**level) for key, level in entry["landmarks"].items()},
    }
    return StudyReport(**{**entry, **rebuilt})


def report_from(entry: Mapping[str, Any]) -> Report:
    """A report from its JSON; raises TypeError or KeyError for another layout."""
    rebuilt = {
        "studies": tuple(map(study_report_from, entry["studies"])),
        "failures": tuple(Failure(**failure) for failure in entry["failures"]),
        "members": tuple(entry["members"]),
        "notes": tuple(entry["notes"]),
    }
    return Report(**{**entry, **rebuilt})


def _plain(value: Any) -> Any:
    """A value in JSON's own types: numpy gives way to lists and numbers, NaN and infinities to null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
