"""What is fitted to graded rows: temperature, bias and study-maximum factor, and what it gains on other folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.results.metric import TERMS, StudyTerms
from lumbar_kernel.schema import CANAL, GROUPS, SEVERITIES, SEVERITY_WEIGHTS

MIN_GAIN = 0.001
"""Smallest out-of-fold gain for which a step is kept."""

FACTORS = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)

Fitted = TypeVar("Fitted")
TemperatureBias = tuple[float, tuple[float, ...]]

UNCHANGED: TemperatureBias = (1.0, (0.0,) * len(SEVERITIES))


def fit(labels: NDArray[np.int8], probabilities: NDArray[np.float64]) -> TemperatureBias:
    """Temperature and bias that minimise the weighted log loss of some rows; the bias of the mildest grade stays 0."""
    logits = torch.from_numpy(np.log(np.maximum(probabilities, 1e-9)))
    graded = torch.from_numpy(labels.astype(np.int64))
    weight = torch.tensor(SEVERITY_WEIGHTS, dtype=logits.dtype)
    log_scale = torch.zeros((), dtype=logits.dtype, requires_grad=True)
    shift = torch.zeros(len(SEVERITIES) - 1, dtype=logits.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_scale, shift], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        moved = logits * torch.exp(log_scale) + torch.cat([shift.new_zeros(1), shift])
        loss = torch.nn.functional.cross_entropy(moved, graded, weight=weight)
        loss.backward()
        return loss

    optimiser.step(closure)
    return float(torch.exp(-log_scale.detach())), (0.0, *shift.detach().tolist())


def with_temperature_bias(group: str, shift: TemperatureBias, start: Calibration) -> Calibration:
    """A calibration with one group's temperature and bias replaced."""
    index = GROUPS.index(group)
    temperature, bias = list(start.temperature), list(start.bias)
    temperature[index], bias[index] = round(shift[0], 4), tuple(round(value, 4) for value in shift[1])
    return replace(start, temperature=tuple(temperature), bias=tuple(bias))


def shifted(group: str, probabilities: NDArray[np.float64], shift: TemperatureBias) -> NDArray[np.float64]:
    """Calibrated (n, 3) probabilities of rows of one group."""
    return with_temperature_bias(group, shift, Calibration()).of_group(probabilities, group)


def across_folds(
    folds: NDArray[np.int8],
    fit_on: Callable[[NDArray[np.bool_]], Fitted],
    loss: Callable[[NDArray[np.bool_], Fitted], float],
) -> float:
    """Mean loss over the folds, each with what was fitted on the others, weighted by its rows."""
    parts = [((folds == fold), fit_on(folds != fold)) for fold in np.unique(folds)]
    return float(np.average([loss(held, fitted) for held, fitted in parts], weights=[held.sum() for held, _ in parts]))


@dataclass(frozen=True)
class Trial:
    """What a step does to the loss on folds that it was not fitted on.

    Attributes:
        before: loss without the step.
        after: loss with the step as fitted on the other folds.
    """

    before: float
    after: float

    @property
    def helps(self) -> bool:
        """Whether the step is worth keeping."""
        return self.before - self.after > MIN_GAIN


def best_option(
    folds: NDArray[np.int8], loss: Callable[[NDArray[np.bool_], int], float], count: int
) -> tuple[Trial, int]:
    """What choosing among some options does, compared with the first of them, and the best one on all folds."""

    def best(chosen: NDArray[np.bool_]) -> int:
        return min(range(count), key=lambda option: loss(chosen, option))

    trial = Trial(across_folds(folds, lambda _: 0, loss), across_folds(folds, best, loss))
    return trial, best(np.ones(len(folds), bool))


def best_factor(terms: Sequence[StudyTerms], folds: NDArray[np.int8]) -> tuple[Trial, float]:
    """What the study-maximum rule does to canal plus any-severe loss, and the best of `FACTORS` on all folds.

    Args:
        terms: for each of the factors.
        folds: (studies,) fold of each study.
    """
    trial, best = best_option(folds, _factor_loss(terms), len(FACTORS))
    return trial, FACTORS[best]


def factor_of_others(terms: Sequence[StudyTerms], folds: NDArray[np.int8], fold: int) -> float:
    """The best of `FACTORS` on all folds but one; arguments as for `best_factor`."""
    loss = _factor_loss(terms)
    return FACTORS[min(range(len(FACTORS)), key=lambda index: loss(folds != fold, index))]


def _factor_loss(terms: Sequence[StudyTerms]) -> Callable[[NDArray[np.bool_], int], float]:
    """The loss of chosen studies with one of the factors."""
    columns = [TERMS.index(CANAL), TERMS.index("any_severe")]

    def loss(chosen: NDArray[np.bool_], index: int) -> float:
        losses, weights = (each[chosen][:, columns].sum(axis=0) for each in (terms[index].losses, terms[index].weights))
        return float((losses / weights).sum())

    return loss
