"""`report.html`: a run as one page for browsers, without any network."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import output_names
from lumbar_kernel.results import drawing
from lumbar_kernel.results.atomic import readable, write_atomic
from lumbar_kernel.results.drawing import SEVERITY_COLOURS
from lumbar_kernel.results.grade_chart import COLUMNS
from lumbar_kernel.results.pictures import MARKS, RING_MEANING, SAGITTAL, picture_layout, picture_path
from lumbar_kernel.results.report import Report
from lumbar_kernel.results.run_files import GradedStudy, RunFiles, read_run
from lumbar_kernel.results.tables import Point
from lumbar_kernel.results.wording import without_paths
from lumbar_kernel.schema import (
    CANAL,
    LEVEL_NAMES,
    LEVELS,
    PLACES,
    ROWS,
    SEVERE,
    SEVERITIES,
    SEVERITY_NAMES,
    SEVERITY_WEIGHTS,
    TARGETS,
    Target,
    frequencies,
)

EMBEDDED_BYTES = 24_000_000
"""Pictures that the page holds itself, about forty; those of later studies are loaded from `pictures/` beside it."""

THUMBNAIL = 72
"""Edge of a thumbnail, pixels."""

REDUCED = 4
"""Thumbnails are decoded at a quarter of the size, in a fifth of the time."""

UNSURE = 0.5
"""Confidence below which a point is named."""

MODERATE = SEVERE - 1

SQUARES = (*SEVERITIES, "ungraded")
"""Classes of the squares of a study's small heat map."""


def write_page(folder: Path) -> Path:
    """Write `report.html` from the files of a run; returns its path.

    Args:
        folder: with `report.json`, `grades.csv` and, where pictures were drawn, `pictures/`.

    Raises:
        ConfigError: the folder holds no run.
        OSError: a file cannot be read or written.
    """
    path = folder / output_names.PAGE
    write_atomic(page(read_run(folder), folder / output_names.PICTURES), path)
    return path


def page(run: RunFiles, pictures: Path) -> str:
    """The page as text.

    Args:
        run: what to show.
        pictures: folder of the pictures; it may be absent.
    """
    entries, rows, embedded, room = [], [], [], EMBEDDED_BYTES
    for number, study in enumerate(run.studies):
        raw = _picture(pictures, study.study_id)
        inside = raw is not None and len(raw) <= room
        if raw is not None and inside:
            room -= len(raw)
            embedded.append(f'<script type="text/plain" id="picture-{number}">{_base64(raw)}</script>')
        entries.append(_entry(study, picture="none" if raw is None else "inside" if inside else "beside"))
        rows.append(_row(study, entries[-1], raw))
    assets = files("lumbar_kernel.results") / "assets"
    style = (assets / "page.css").read_text(encoding="utf-8")
    data = {"run": _about(run.report), "studies": entries, "picture": picture_layout(), "names": _names()}
    return Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        style=_style() + style,
        script=(assets / "page.js").read_text(encoding="utf-8"),
        data=_json(data),
        rows="\n".join(rows),
        pictures="\n".join(embedded),
        row_count=str(len(ROWS)),
        unsure=f"{UNSURE:g}",
        **{name: escape(value) for name, value in _headline(run).items()},
    )


def _json(data: object) -> str:
    """JSON that can stand in a script element: `<` is the only character that could end one."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _picture(folder: Path, study_id: str) -> bytes | None:
    path = picture_path(folder, study_id)
    return path.read_bytes() if path.is_file() else None


def _names() -> dict[str, Any]:
    columns = [
        {
            "name": ", ".join(filter(None, (PLACES[group].capitalize(), side))),
            "rows": [TARGETS.index(Target(group, side, level)) for level in LEVELS],
        }
        for group, side in COLUMNS
    ]
    return {
        "rows": ROWS,
        "levels": LEVEL_NAMES,
        "columns": columns,
        "grades": SEVERITY_NAMES,
        "weights": SEVERITY_WEIGHTS,
        "colours": [colour[::-1] for colour in SEVERITY_COLOURS],
        "marks": [[colour[::-1], words] for colour, words in MARKS],
        "ring": " ".join(RING_MEANING),
        "unsure": UNSURE,
    }


def _style() -> str:
    """Style rules that follow from the schema: panels in a row, and the squares of each grade."""
    rules = [f":root {{ --levels: {len(LEVELS)}; }}"]
    for name, (blue, green, red) in zip(SEVERITIES, SEVERITY_COLOURS, strict=True):
        rules.append(f".{name} {{ fill: rgb({red} {green} {blue}); }}")
    return "\n".join((*rules, ""))


def _headline(run: RunFiles) -> dict[str, str]:
    """Verdict and figures of the run."""
    report = run.report
    graded = sum(bool(study.graded.any()) for study in run.studies)
    return {
        "verdict": report.verdict,
        "count": str(len(run.studies)),
        "graded": f"{graded} of {len(run.studies)}",
        "version": report.version,
    }


def _about(report: Report) -> dict[str, Any]:
    """The run without its studies, and without paths."""
    left_out = [f"member {name} left out: {reason}" for name, reason in report.members_failed.items()]
    kept = ("version", "weights_sha256", "device", "stages", "members", "seconds", "budget_seconds", "exit_code")
    notes = without_paths([*report.notes, *left_out, *(failure.sentence for failure in report.failures)])
    return {**{name: getattr(report, name) for name in kept}, "notes": notes}


def _likeliest(study: GradedStudy) -> NDArray[np.int64]:
    """Index of the most frequent grade of each row, (25,); beyond the last one where no member graded it."""
    return np.where(study.graded, frequencies(study.probabilities).argmax(axis=1), len(SEVERITIES))


def _entry(study: GradedStudy, *, picture: str) -> dict[str, Any]:
    """One study for the page's script."""
    report = study.report
    canal = [study.points.get(Target(CANAL, "", level)) for level in LEVELS]
    expected, likeliest = frequencies(study.probabilities), _likeliest(study)
    return {
        "id": readable(study.study_id),
        "p": [[round(float(value), 4) for value in row] for row in study.probabilities],
        "graded": [int(value) for value in study.graded],
        "severe": int((likeliest == SEVERE).sum()),
        "moderate": int((likeliest == MODERATE).sum()),
        "severity": round(float((expected[study.graded] @ np.arange(len(SEVERITIES))).sum()), 3),
        "confidence": report.confidence,
        "levels": [None if point is None else point.confidence for point in canal],
        "unsure": _unsure(study.points),
        "series": [[_plain_id(item.series_id), item.role, item.slices] for item in report.series],
        "members": report.members,
        "missing": without_paths(report.missing),
        "failures": without_paths(failure.sentence for failure in report.failures),
        "picture": picture,
        "file": _link(study.study_id) if picture == "beside" else None,
    }


def _link(study_id: str) -> str:
    """Where the page finds a picture that lies beside it."""
    return quote(picture_path(Path(output_names.PICTURES), study_id).as_posix())


def _unsure(points: Mapping[Target, Point]) -> list[str]:
    """The points whose confidence is below `UNSURE`, each with it."""
    return [f"{_place(target)} {point.confidence:.2f}" for target, point in points.items() if point.confidence < UNSURE]


def _place(target: Target) -> str:
    """Where a target is graded, in words; a level's canal point stands for the level."""
    level = target.level_name
    return f"{target.side} {PLACES[target.group]} of {level}" if target.side else level


def _plain_id(series_id: str) -> str:
    """The id of a series where it is a number or UID; the name of a folder may name a patient."""
    return series_id if series_id.replace(".", "").isdigit() else ""


def _row(study: GradedStudy, entry: dict[str, Any], picture: bytes | None) -> str:
    """A study as a row of the table, complete without the script."""
    name = readable(study.study_id)
    confidence = "–" if entry["confidence"] is None else f"{entry['confidence']:.2f}"
    notes = [*entry["failures"], *entry["missing"]]
    note = f"{len(notes)} note{'s' if len(notes) > 1 else ''}" if notes else ""
    cells = (
        f'<td class="thumb">{_thumbnail(picture)}</td>',
        f'<th scope="row"><a href="#study={quote(name, safe="")}">{escape(name)}</a></th>',
        f"<td>{_heat_map(study)}</td>",
        f'<td class="number">{entry["severe"]}</td>',
        f'<td class="number">{entry["moderate"]}</td>',
        f'<td class="number">{confidence}</td>',
        f'<td class="number">{int(study.graded.sum())}</td>',
        f'<td class="note">{note}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>"


def _thumbnail(picture: bytes | None) -> str:
    small = drawing.decoded(picture or b"", cv2.IMREAD_REDUCED_COLOR_4)
    if small is None:
        return ""
    edge = SAGITTAL // REDUCED
    middle = cv2.resize(small[:edge, :edge], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", middle, (cv2.IMWRITE_JPEG_QUALITY, 75))[1].tobytes()
    source = f"data:image/jpeg;base64,{_base64(data)}"
    return f'<img src="{source}" width="48" height="48" loading="lazy" decoding="async" alt="">'


def _heat_map(study: GradedStudy) -> str:
    """The likeliest grades as a tiny picture, a row a level: three paths, however many squares."""
    likeliest = _likeliest(study)
    counts = [int((likeliest == grade).sum()) for grade in range(len(SEVERITIES))]
    label = ", ".join(f"{count} {name}" for count, name in zip(counts, SEVERITY_NAMES, strict=True))
    paths = "".join(
        f'<path class="{name}" d="{"".join(_squares(likeliest == grade))}"/>'
        for grade, name in enumerate(SQUARES)
        if (likeliest == grade).any()
    )
    box = f"0 0 {len(COLUMNS)} {len(LEVELS)}"
    return f'<svg class="mini" viewBox="{box}" role="img" aria-label="{label}">{paths}</svg>'


def _squares(chosen: NDArray[np.bool_]) -> Iterator[str]:
    """Path commands of the squares of some rows, in the columns that the page uses: right of the patient first."""
    for target, one in zip(TARGETS, chosen.tolist(), strict=True):
        if one:
            yield f"M{COLUMNS.index((target.group, target.side))} {LEVELS.index(target.level)}h.9v.9h-.9z"
