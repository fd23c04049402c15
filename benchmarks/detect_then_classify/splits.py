"""The studies of the training folds on which checkpoints are chosen."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

CHECKED = 10
"""One study in so many is not trained on but decides which epoch is kept."""


def is_checked(study: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which pictures or rows belong to such a study: those with the least hashes of their ids, at least one."""
    ordered = sorted(set(study.tolist()), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return np.isin(study, ordered[: max(1, len(ordered) // CHECKED)])
