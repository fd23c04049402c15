"""The studies that are timed: phantoms with the sizes and encodings of real ones, generated once and kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.kaggle.multiply import multiply
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.phantom import write_dataset

SEED = 77
MAX_GENERATED = 40
"""Phantoms that are generated; larger sets hold them again under new ids."""


def dataset(cache: Path, *, studies: int) -> Path:
    """A folder in the competition's layout with so many studies, made when it is not there yet."""
    name = f"phantoms_{studies}" if studies <= MAX_GENERATED else f"repeated_{studies}"
    folder, part = cache / name, cache / f"{name}.part"
    if folder.is_dir():
        return folder
    shutil.rmtree(part, ignore_errors=True)  # of a run that was interrupted
    if studies <= MAX_GENERATED:
        write_dataset(part, studies=studies, seed=SEED, workers=usable_cpus())
    else:
        multiply(dataset(cache, studies=MAX_GENERATED), part, studies=studies)
    return part.rename(folder)
