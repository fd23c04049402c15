"""The best score that anyone can reach on noisily read phantoms: `python -m benchmarks.phantom_oracle --studies N`.

The oracle knows every measured narrowing exactly, and only the readers' noise is hidden from it (`phantom.readers`). A
grader that comes near it on phantoms has nothing left to learn there; one that beats it has seen the labels.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

from lumbar_kernel import schema
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.metric import bootstrap_interval, constant_submission, score
from lumbar_kernel.phantom import grade_probabilities, make_truth, read_grades

FIRST_SEED = 60_000_000


def _scores(seed: int) -> FloatArray:
    return make_truth(seed).scores


def oracle(scores: FloatArray, *, noise: float, seed: int = 0) -> dict[str, dict[str, object]]:
    """The oracle's and the best constant's score on grades read with noise.

    Args:
        scores: measured scores (studies, 25).
        noise: setting of the dial of `read_grades`.
        seed: of the readers' noise.

    Returns:
        Parts of the metric of "oracle" and "constant", and the oracle's "interval" over studies.
    """
    rng = np.random.default_rng(seed)
    read = np.array([read_grades(row, rng, noise=noise) for row in scores])
    ids = [[f"{study}_{row}" for row in schema.ROWS] for study in range(len(scores))]
    solution = {
        name: int(g) for names, grades in zip(ids, read, strict=True) for name, g in zip(names, grades, strict=True)
    }
    # the metric weighs a row by its true grade, so its best answer leans towards what weighs more
    leaning = grade_probabilities(scores, noise=noise) * np.array(schema.SEVERITY_WEIGHTS)
    leaning = np.clip(leaning / leaning.sum(-1, keepdims=True), 1e-6, None)
    submission = {
        name: p for names, rows in zip(ids, leaning, strict=True) for name, p in zip(names, rows, strict=True)
    }
    return {
        "oracle": asdict(score(solution, submission)),
        "interval": dict(bootstrap_interval(solution, submission, seed=0)),
        "constant": asdict(score(solution, constant_submission(solution))),
    }


def main() -> None:
    """Print the table for several settings of the dial."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5, 1.0])
    arguments = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.studies)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        scores = np.stack(list(tqdm(pool.map(_scores, seeds, chunksize=8), total=len(seeds), unit="study")))
    print("| noise | what | oracle (95 % interval) | constant |\n|---|---|---|---|")
    for noise in arguments.noise:
        figures = oracle(scores, noise=noise)
        for name, (low, high) in figures["interval"].items():
            value = figures["oracle"][name]
            print(f"| {noise:g} | {name} | {value:.3f} ({low:.3f} to {high:.3f}) | {figures['constant'][name]:.3f} |")


if __name__ == "__main__":
    main()
