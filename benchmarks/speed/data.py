"""The studies that are timed: phantoms with the sizes and encodings of real ones, generated once and kept."""

from __future__ import annotations

from pathlib import Path

from benchmarks.kaggle.multiply import multiply
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.phantom import write_dataset

SEED = 77
MAX_GENERATED = 40
"""Phantoms that are generated; larger sets hold them again under new ids."""


def dataset(cache: Path, *, studies: int) -> Path:
    """A folder in the competition's layout with so many studies, made when it is not there yet."""
    generated = _generated(cache, studies=min(studies, MAX_GENERATED))
    if studies <= MAX_GENERATED:
        return generated
    folder = cache / f"repeated_{studies}"
    if not folder.is_dir():
        multiply(generated, cache / f"repeated_{studies}.part", studies=studies).rename(folder)
    return folder


def _generated(cache: Path, *, studies: int) -> Path:
    folder = cache / f"phantoms_{studies}"
    if not folder.is_dir():
        part = cache / f"phantoms_{studies}.part"
        cache.mkdir(parents=True, exist_ok=True)
        write_dataset(part, studies=studies, seed=SEED, split="test", workers=usable_cpus(), progress=False)
        part.rename(folder)
    return folder
