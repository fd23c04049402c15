"""Markdown tables, line by line."""

from __future__ import annotations


def table_head(*names: str) -> str:
    """The names of the columns, and the line below them."""
    return f"{table_row(*names)}\n|{'---|' * len(names)}"


def table_row(*cells: object) -> str:
    """One row."""
    return f"| {' | '.join(map(str, cells))} |"
