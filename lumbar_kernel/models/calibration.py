"""Temperature and bias per condition, fitted on out-of-fold predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import WeightsError
from lumbar_kernel.schema import GROUPS, ROW_GROUPS, SEVERITIES

MIN_PROBABILITY = 1e-9


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
            rows = index == ROW_GROUPS
            calibrated[rows] = self.of_group(probabilities[rows], group)
        return calibrated

    def of_group(self, probabilities: FloatArray, group: str) -> FloatArray:
        """Calibrated (n, 3) probabilities of rows of one metric group."""
        index = GROUPS.index(group)
        logits = np.log(np.maximum(probabilities, MIN_PROBABILITY)) / self.temperature[index] + np.array(
            self.bias[index]
        )
        return normalise_rows(np.exp(logits - logits.max(axis=1, keepdims=True)))

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
                msg = f"bias of {group} must be {len(SEVERITIES)} numbers, not {shifts!r}; export the weights again"
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


def normalise_rows(rows: FloatArray) -> FloatArray:
    """Rows (n, 3) divided by their sums."""
    shares: FloatArray = rows / rows.sum(axis=1, keepdims=True)
    return shares
