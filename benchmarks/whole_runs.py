"""Whole runs as a user starts them: their command line, and what separates the grades of two of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lumbar_kernel.arrays import FloatArray


def command(data: Path, out: Path, *options: str, python: str | Path = sys.executable) -> list[str]:
    """The command line of a quiet run, by this interpreter or another one."""
    return [str(python), "-m", "lumbar_kernel", "predict", str(data), "--out", str(out), "--quiet", *options]


def largest_difference(grades: Mapping[str, FloatArray], others: Mapping[str, FloatArray]) -> float:
    """Of any probability of the same rows; raises KeyError where a row is missing."""
    return max(float(np.abs(grades[row] - others[row]).max()) for row in grades.keys() | others.keys())
