"""The interval of any statistic of rows, over their studies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.results.metric import central_interval


def study_interval(
    group: NDArray[np.str_], statistic: Callable[[NDArray[np.intp]], float], *, draws: int = 1000
) -> tuple[float, float]:
    """95 % bootstrap interval of a statistic of rows when whole studies are drawn with replacement.

    Args:
        group: (n,) study of each row.
        statistic: of the rows with these indices; draws for which it is NaN are ignored.
        draws: number of bootstrap draws.

    Returns:
        Lower and upper bound, NaN where the statistic is never defined.
    """
    rng = np.random.default_rng(0)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(group[order][1:] != group[order][:-1]) + 1)
    values = []
    for _ in range(draws):
        chosen = rng.integers(0, len(members), len(members))
        values.append(statistic(np.concatenate([members[k] for k in chosen])))
    return central_interval(np.array(values))
