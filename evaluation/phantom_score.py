"""The score of the shipped weights on complete phantom studies that no training saw."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

from evaluation.constant_grades import constant_submission
from lumbar_kernel import Config, predict
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.phantom import write_dataset
from lumbar_kernel.results.metric import bootstrap_interval, load_solution, score
from lumbar_kernel.results.submission import load_submission

SEED = 500
"""Training phantoms start at seed 1,000,000."""


class PhantomScore(TypedDict):
    """The official metric with its parts: the kernel's with 95 % intervals and the per-level prior's; and the time."""

    score: dict[str, float]
    interval: dict[str, tuple[float, float]]
    prior: dict[str, float]
    seconds_per_study: float
    studies: int


def phantom_score(
    folder: Path, *, studies: int, seed: int = SEED, weights: Path | None = None, reader_noise: float = 0.0
) -> PhantomScore:
    """Generate phantom studies, grade them with the whole kernel, and score them.

    Args:
        folder: for studies and results.
        studies: how many.
        seed: of the first.
        weights: other than the package's own.
        reader_noise: disagreement of the radiologists behind the truth; 0 for exact grades.
    """
    data = folder / "data"
    write_dataset(data, studies=studies, seed=seed, workers=usable_cpus(), reader_noise=reader_noise)
    config = Config(data=data, output=folder / "out", weights=weights, progress=False, strict=True)
    report = predict(config)
    solution, submission = load_solution(data / "truth.csv"), load_submission(config.submission_path)
    return {
        "score": asdict(score(solution, submission)),
        "interval": bootstrap_interval(solution, submission),
        "prior": asdict(score(solution, constant_submission(solution))),
        "seconds_per_study": report.seconds / studies,
        "studies": studies,
    }
