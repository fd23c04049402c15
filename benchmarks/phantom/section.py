"""A table of findings, each beside what was wanted and whether that holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Finding:
    """One figure.

    Attributes:
        what: was measured.
        found: value; NaN where the phantom does not expose what it takes.
        wanted: in words, with the tolerance.
        passed: whether it is as wanted; None for a figure that nothing is asked of.
        note: counts, spreads, sources.
    """

    what: str
    found: float
    wanted: str
    passed: bool | None
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Findings under a title."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that are not as wanted."""
        return tuple(finding for finding in self.findings if finding.passed is False)

    def markdown(self) -> str:
        """The section as a markdown table, its tally first."""
        asked = [finding for finding in self.findings if finding.passed is not None]
        lines = [f"## {self.title}", ""]
        if asked:
            lines += [f"{len(asked) - len(self.failed)} of {len(asked)} as wanted.", ""]
        lines += ["| what | found | wanted | verdict | note |", "|---|---|---|---|---|"]
        for item in self.findings:
            verdict = {True: "yes", False: "**no**", None: "–"}[item.passed]
            lines.append(f"| {item.what} | {_figure(item.found)} | {item.wanted} | {verdict} | {item.note} |")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """For JSON, which has no NaN."""
        entries = [asdict(item) | {"found": None if np.isnan(item.found) else item.found} for item in self.findings]
        return {"title": self.title, "findings": entries}


def near(what: str, found: float, wanted: float, tolerance: float, note: str = "") -> Finding:
    """A finding that has to lie within a tolerance of a value."""
    return Finding(what, found, f"{_figure(wanted)} ± {_figure(tolerance)}", abs(found - wanted) <= tolerance, note)


def at_most(what: str, found: float, limit: float, note: str = "") -> Finding:
    """A finding that must not be larger than a limit."""
    return Finding(what, found, f"≤ {_figure(limit)}", found <= limit, note)


def at_least(what: str, found: float, limit: float, note: str = "") -> Finding:
    """A finding that must not be smaller than a limit."""
    return Finding(what, found, f"≥ {_figure(limit)}", found >= limit, note)


def unknown(what: str, wanted: str, note: str) -> Finding:
    """A finding that could not be made."""
    return Finding(what, float("nan"), wanted, None, note)


def tally(sections: Sequence[Section]) -> tuple[int, int]:
    """How many findings are as wanted, and of how many."""
    asked = [item.passed for section in sections for item in section.findings if item.passed is not None]
    return sum(asked), len(asked)


def _figure(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
