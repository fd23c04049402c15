"""Archive runs beside `predict`, and two workers beside one, with networks loaded before the clock starts."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import ray

from benchmarks.kaggle.multiply import multiply
from benchmarks.speed.observed import observe
from lumbar_kernel.archive.grading import ArchiveOptions, grade_archive, index_archive
from lumbar_kernel.archive.storage import Folder

SHARD_STUDIES = 5


@dataclass(frozen=True)
class ArchiveSpeed:
    """Seconds for the same studies.

    Attributes:
        studies: how many.
        one_core: of an archive run on one core, its worker warm.
        two_cores: the same on two.
        predict: of `predict` on two cores, from the start of its process to its end.
        predict_warm: the same from its first grades on.
    """

    studies: int
    one_core: float
    two_cores: float
    predict: float
    predict_warm: float

    @property
    def gain(self) -> float:
        """How much faster two workers are than one."""
        return self.one_core / self.two_cores

    @property
    def ratio(self) -> float:
        """The archive run against the whole of `predict`."""
        return self.two_cores / self.predict


def measure(originals: Path, folder: Path, *, studies: int) -> ArchiveSpeed:
    """Grade links to some studies in every way; `originals` is in the competition's layout."""
    data = multiply(originals, folder / "data", studies=studies)
    warming = multiply(originals, folder / "warming", studies=4)
    two = warm_seconds(data, warming, folder / "two", cores=2)
    run = observe(data, folder / "predicted")
    one = warm_seconds(data, warming, folder / "one", cores=1)
    return ArchiveSpeed(studies, one, two, run.seconds, run.seconds - run.start_seconds)


def warm_seconds(data: Path, warming: Path, folder: Path, *, cores: int) -> float:
    """Seconds to grade an indexed archive on a Ray whose workers have graded others before."""
    ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        options = ArchiveOptions(data=str(data), out=Folder.of(folder / "out"), shard_studies=SHARD_STUDIES)
        index_archive(options)
        grade_archive(ArchiveOptions(data=str(warming), out=Folder.of(folder / "warm"), shard_studies=1))
        began = time.monotonic()
        grade_archive(options)
        seconds = time.monotonic() - began
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    return seconds
