"""The studies of the training folds on which checkpoints are chosen."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

CHECKED = 10
"""One study in so many is not trained on but decides which epoch is kept."""


def is_checked(study: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which pictures or rows belong to such a study, by a hash of its id."""
    return np.array([int(hashlib.sha256(str(item).encode()).hexdigest(), 16) % CHECKED == 0 for item in study])
