"""Members' probabilities → the grades of a study: weighted mean, calibration, study-maximum rule, prior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import WeightsError
from lumbar_kernel.schema import CANAL, GROUPS, ROWS, SEVERITIES, group_of, prior

SHAPE = (len(ROWS), len(SEVERITIES))
GROUP_ROWS = np.array([GROUPS.index(group_of(row)) for row in ROWS])
"""Index into `GROUPS` of each row of `ROWS`, shape (25,)."""

CANAL_ROWS = np.array([index for index, row in enumerate(ROWS) if group_of(row) == CANAL])
SEVERE = SEVERITIES.index("severe")
SMALLEST = 1e-9
SUM_TOLERANCE = 1e-2
"""Members may run in half precision, whose softmax sums to one within a few thousandths."""


class Ensemble:
    """Running weighted mean of one study's probabilities over the members that could say; valid after each `add`."""

    def __init__(self) -> None:
        self._total = np.zeros(SHAPE)
        self._weight = np.zeros(len(ROWS))

    def add(self, probabilities: FloatArray, *, weights: ArrayLike = 1.0) -> None:
        """Take in one member.

        Args:
            probabilities: (25, 3), rows as in `schema.ROWS`; a row with a NaN means that the member cannot say.
            weights: one weight for all rows or (25,), each finite and not negative.

        Raises:
            ValueError: the shape, a probability or a weight is impossible; nothing is taken in.
        """
        probabilities = np.asarray(probabilities, dtype=np.float64)
        weight = np.asarray(weights, dtype=np.float64)
        if probabilities.shape != SHAPE or weight.shape not in ((), (len(ROWS),)):
            msg = f"need probabilities (25, 3) and one weight or (25,), not {probabilities.shape} and {weight.shape}"
            raise ValueError(msg)
        said: NDArray[np.bool_] = ~np.any(np.isnan(probabilities), axis=1)
        wrong = said & ~_are_probabilities(probabilities)
        if wrong.any():
            row = int(np.argmax(wrong))
            msg = f"{ROWS[row]} must hold three probabilities that sum to one, not {probabilities[row].tolist()}"
            raise ValueError(msg)
        if not (np.isfinite(weight).all() and (weight >= 0).all()):
            msg = f"weights must be finite and not negative, not {weight.tolist()}"
            raise ValueError(msg)
        weight = np.where(said, weight, 0.0)
        self._total += weight[:, None] * np.where(said[:, None], probabilities, 0.0)
        self._weight += weight

    @property
    def said(self) -> NDArray[np.bool_]:
        """Which rows at least one member graded, shape (25,)."""
        return self._weight > 0

    def result(self) -> FloatArray:
        """Weighted mean over those who said something, (25, 3), rows summing to one; the prior where nobody did."""
        grades = np.where(self.said[:, None], self._total, prior())
        return _normalise(grades)


@dataclass(frozen=True)
class Calibration:
    """Temperature and bias per metric group, fitted on out-of-fold predictions; the default changes nothing.

    Attributes:
        temperature: divisor of the log-probabilities, one per group of `schema.GROUPS`, above 1 flattens.
        bias: added to the log-probabilities afterwards, three per group.
        max_severe_factor: factor for `scale_max_severe`.
    """

    temperature: tuple[float, ...] = (1.0,) * len(GROUPS)
    bias: tuple[tuple[float, ...], ...] = ((0.0,) * len(SEVERITIES),) * len(GROUPS)
    max_severe_factor: float = 1.0

    def apply(self, probabilities: FloatArray) -> FloatArray:
        """Calibrated (25, 3) probabilities, rows summing to one; the study-maximum rule is not part of it."""
        calibrated = np.empty_like(probabilities)
        for index, group in enumerate(GROUPS):
            rows = index == GROUP_ROWS
            calibrated[rows] = self.of_group(probabilities[rows], group)
        return calibrated

    def of_group(self, probabilities: FloatArray, group: str) -> FloatArray:
        """Calibrated (n, 3) probabilities of rows of one metric group."""
        index = GROUPS.index(group)
        logits = np.log(np.maximum(probabilities, SMALLEST)) / self.temperature[index] + np.array(self.bias[index])
        return _normalise(np.exp(logits - logits.max(axis=1, keepdims=True)))

    @classmethod
    def from_dict(cls, entry: Mapping[str, object]) -> Calibration:
        """Read the manifest's "calibration" entry; what it leaves out changes nothing.

        The entry is `{group: {"temperature": t, "bias": [b, b, b]}, ..., "max_severe_factor": f}`.

        Raises:
            WeightsError: an unknown key, a number that is not finite, or a temperature or factor not above zero.
        """
        _refuse_unknown(entry, (*GROUPS, "max_severe_factor"), place="calibration")
        temperature, bias = [], []
        for group in GROUPS:
            values = entry.get(group, {})
            if not isinstance(values, Mapping):
                msg = f"calibration of {group} must be a table, not {values!r}; export the weights again"
                raise WeightsError(msg)
            _refuse_unknown(values, ("temperature", "bias"), place=f"calibration of {group}")
            temperature.append(_number(values.get("temperature", 1.0), f"temperature of {group}", positive=True))
            shifts = values.get("bias", (0.0,) * len(SEVERITIES))
            if not isinstance(shifts, list | tuple) or len(shifts) != len(SEVERITIES):
                msg = f"bias of {group} must be three numbers, not {shifts!r}; export the weights again"
                raise WeightsError(msg)
            bias.append(tuple(_number(shift, f"bias of {group}") for shift in shifts))
        factor = _number(entry.get("max_severe_factor", 1.0), "max_severe_factor", positive=True)
        return cls(tuple(temperature), tuple(bias), factor)

    def to_dict(self) -> dict[str, object]:
        """The manifest's "calibration" entry, as `from_dict` reads it."""
        entry: dict[str, object] = {
            group: {"temperature": temperature, "bias": list(bias)}
            for group, temperature, bias in zip(GROUPS, self.temperature, self.bias, strict=True)
        }
        return entry | {"max_severe_factor": self.max_severe_factor}


def scale_max_severe(probabilities: FloatArray, factor: float) -> FloatArray:
    """Multiply a study's largest severe probability of the canal by a factor and normalise that row.

    The metric uses this one number twice, in the canal's loss and in the any-severe term, where missing a severe
    canal weighs most.

    Args:
        probabilities: (25, 3), rows as in `schema.ROWS`; not changed.
        factor: above zero; 1 changes nothing.
    """
    scaled = np.array(probabilities, dtype=np.float64)
    row = CANAL_ROWS[np.argmax(scaled[CANAL_ROWS, SEVERE])]
    scaled[row, SEVERE] *= factor
    scaled[row] /= scaled[row].sum()
    return scaled


def blend_with_prior(probabilities: FloatArray, confidence: ArrayLike) -> FloatArray:
    """Lean each row on the prior as far as its confidence is short of one.

    Args:
        probabilities: (25, 3), rows as in `schema.ROWS`.
        confidence: one number or (25,), each between 0 (the prior) and 1 (as it stands).

    Raises:
        ValueError: a confidence is outside 0 to 1.
    """
    share = np.broadcast_to(np.asarray(confidence, dtype=np.float64), len(ROWS))[:, None]
    if not ((share >= 0) & (share <= 1)).all():
        msg = f"confidence must lie between 0 and 1, not {share[:, 0].tolist()}"
        raise ValueError(msg)
    return share * np.asarray(probabilities, dtype=np.float64) + (1 - share) * prior()


def _are_probabilities(rows: FloatArray) -> NDArray[np.bool_]:
    """Which rows (n, 3) are finite, not negative and sum to one within the precision of a member."""
    proper: NDArray[np.bool_] = np.all(np.isfinite(rows) & (rows >= 0), axis=1)
    sums_to_one: NDArray[np.bool_] = np.abs(np.where(proper[:, None], rows, 0.0).sum(axis=1) - 1) <= SUM_TOLERANCE
    return proper & sums_to_one


def _normalise(rows: FloatArray) -> FloatArray:
    """Rows (n, 3) divided by their sums."""
    shares: FloatArray = rows / rows.sum(axis=1, keepdims=True)
    return shares


def _refuse_unknown(entry: Mapping[str, object], known: tuple[str, ...], *, place: str) -> None:
    """Raise WeightsError when a manifest entry holds keys that this version cannot honour."""
    if unknown := [key for key in entry if key not in known]:
        msg = f"{place} has unknown keys {unknown}; known are {', '.join(known)}"
        raise WeightsError(msg)


def _number(value: object, name: str, *, positive: bool = False) -> float:
    """A finite number of the manifest, above zero where asked; raises WeightsError."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if math.isfinite(number) and (number > 0 or not positive):
        return number
    msg = f"{name} must be a finite number{' above zero' if positive else ''}, not {value!r}; export the weights again"
    raise WeightsError(msg)
