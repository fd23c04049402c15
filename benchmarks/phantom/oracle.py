"""The best score that anyone can reach on noisily read phantoms: `python -m benchmarks.phantom.oracle --studies N`.

The noise oracle knows every measured narrowing exactly, and only the readers' noise is hidden from it
(`phantom.readers`). A grader that comes near it on phantoms has nothing left to learn there; one that beats it has seen
the labels. The rungs below it must measure what it knows (`phantom/ladder.py`); the kernel's own place is what
`benchmarks.phantom.score --reader-noise 1` says.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.phantom.ladder import LEAST, measured, rung
from lumbar_kernel import schema
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom import grade_probabilities, read_grades
from lumbar_kernel.results.metric import PARTS, Score, bootstrap_interval, constant_submission, score

FIRST_SEED = 60_000_000


def read(scores: FloatArray, *, noise: float, seed: int = 0) -> NDArray[np.int64]:
    """Grades (studies, 25) that readers give measured scores (studies, 25)."""
    rng = np.random.default_rng(seed)
    return np.array([read_grades(row, rng, noise=noise) for row in scores])


def oracle(scores: FloatArray, *, noise: float) -> FloatArray:
    """The noise oracle's answer (studies, 25, 3) to measured scores (studies, 25)."""
    # the metric weighs a row by its true grade, so its best answer leans towards what weighs more
    leaning = grade_probabilities(scores, noise=noise) * np.array(schema.SEVERITY_WEIGHTS)
    answer: FloatArray = np.clip(leaning / leaning.sum(-1, keepdims=True), LEAST, None)
    return answer


def judge(labels: NDArray[np.int64], said: FloatArray | None) -> tuple[Score, Mapping[str, tuple[float, float]]]:
    """The official metric, with intervals over studies, of answers (studies, 25, 3) to labels (studies, 25).

    None for the answers means the best constant of each row.
    """
    names = [name for study in range(len(labels)) for name in schema.row_ids(str(study))]
    solution = dict(zip(names, labels.ravel().tolist(), strict=True))
    submission = constant_submission(solution)
    if said is not None:
        submission = dict(zip(names, said.reshape(len(names), -1), strict=True))
    return score(solution, submission), bootstrap_interval(solution, submission, seed=0)


def main() -> None:
    """Print the ladder for several settings of the dial."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5, 1.0])
    arguments = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.studies)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        made = list(tqdm(pool.map(measured, seeds, chunksize=8), total=len(seeds), unit="study"))
    scores = np.stack([item.scores for item in made])
    print(f"| noise | knows | {' | '.join(PARTS)} (95 % interval) |\n|---|---|{'---|' * len(PARTS)}")
    for noise in arguments.noise:
        labels = read(scores, noise=noise)
        rungs = {
            "the measured narrowing": oracle(scores, noise=noise),
            "all measures but that": rung([item.fine for item in made], labels),
            "the same from 4 mm slices": rung([item.acquired for item in made], labels),
            "shares of grades per level": None,
        }
        for name, said in rungs.items():
            found, intervals = judge(labels, said)
            low, high = intervals["mean"]
            cells = " | ".join(f"{getattr(found, part):.3f}" for part in PARTS)
            print(f"| {noise:g} | {name} | {cells} ({low:.3f} to {high:.3f}) |")


if __name__ == "__main__":
    main()
