"""Tables of findings, each with its expectation and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.tables import table_head, table_row


@dataclass(frozen=True)
class Finding:
    """One measured value with its expectation.

    Attributes:
        what: name of the quantity.
        found: measured value; NaN where the phantom does not provide it.
        expected: in words, with the tolerance.
        passed: whether it is as expected; None for a value without expectation.
        note: counts, spreads, sources.
    """

    what: str
    found: float
    expected: str
    passed: bool | None
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Findings under a title."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that are not as expected."""
        return tuple(finding for finding in self.findings if finding.passed is False)

    def markdown(self) -> str:
        """The section as a Markdown table, after how many findings are as expected."""
        passed, checked = count_passed([self])
        lines = [f"## {self.title}", ""]
        if checked:
            lines += [f"{passed} of {checked} as expected.", ""]
        lines.append(table_head("quantity", "found", "expected", "verdict", "note"))
        for item in self.findings:
            verdict = {True: "yes", False: "**no**", None: "–"}[item.passed]
            lines.append(table_row(item.what, _figure(item.found), item.expected, verdict, item.note))
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """For JSON, which has no NaN."""
        entries = [asdict(item) | {"found": None if np.isnan(item.found) else item.found} for item in self.findings]
        return {"title": self.title, "findings": entries}


def near(what: str, found: float, expected: float, tolerance: float, note: str = "") -> Finding:
    """A finding that has to lie within a tolerance of a value."""
    return Finding(what, found, f"{_figure(expected)} ± {_figure(tolerance)}", abs(found - expected) <= tolerance, note)


def at_most(what: str, found: float, limit: float, note: str = "") -> Finding:
    """A finding that must not be larger than a limit."""
    return Finding(what, found, f"≤ {_figure(limit)}", found <= limit, note)


def at_least(what: str, found: float, limit: float, note: str = "") -> Finding:
    """A finding that must not be smaller than a limit."""
    return Finding(what, found, f"≥ {_figure(limit)}", found >= limit, note)


def unknown(what: str, expected: str, note: str) -> Finding:
    """A finding that could not be measured."""
    return Finding(what, float("nan"), expected, None, note)


def count_passed(sections: Sequence[Section]) -> tuple[int, int]:
    """How many findings are as expected, and of how many."""
    checked = [item.passed for section in sections for item in section.findings if item.passed is not None]
    return sum(checked), len(checked)


def _figure(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
