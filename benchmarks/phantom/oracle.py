"""The best possible score on phantoms graded with rater noise: `python -m benchmarks.phantom.oracle --studies N`.

The noise oracle knows every measured stenosis exactly; only the rater noise is hidden from it
(`lumbar_kernel.phantom.rater_noise`). A grader that comes near it on phantoms has nothing left to learn there; one that
beats it has seen the labels. The regressions below it know other measures only (`benchmarks.phantom.regression`); the
kernel's own score is that of `benchmarks.phantom.score --reader-noise 1`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.phantom.each import each
from benchmarks.phantom.regression import MIN_PROBABILITY, measured, regression_predictions
from benchmarks.tables import table_head, table_row
from evaluation.constant_grades import constant_submission
from lumbar_kernel import schema
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom import grade_probabilities, read_grades
from lumbar_kernel.results.metric import PARTS, Score, bootstrap_interval, score

FIRST_SEED = 60_000_000


def read(scores: FloatArray, *, noise: float) -> NDArray[np.int64]:
    """Grades (studies, 25) that raters give for measured scores (studies, 25)."""
    rng = np.random.default_rng(0)
    return np.array([read_grades(row, rng, noise=noise) for row in scores])


def oracle(scores: FloatArray, *, noise: float) -> FloatArray:
    """The noise oracle's answer (studies, 25, 3) to measured scores (studies, 25)."""
    # the metric weighs a row by its true grade, so the best answer favours grades of larger weight
    weighted = grade_probabilities(scores, noise=noise) * np.array(schema.SEVERITY_WEIGHTS)
    answer: FloatArray = np.clip(weighted / weighted.sum(-1, keepdims=True), MIN_PROBABILITY, None)
    return answer


def score_answers(
    labels: NDArray[np.int64], answers: FloatArray | None
) -> tuple[Score, Mapping[str, tuple[float, float]]]:
    """The official metric, with intervals over studies, of answers (studies, 25, 3) to labels (studies, 25).

    None for the answers means the best constant of each row.
    """
    names = [name for study in range(len(labels)) for name in schema.row_ids(str(study))]
    solution = dict(zip(names, labels.ravel().tolist(), strict=True))
    submission = constant_submission(solution)
    if answers is not None:
        submission = dict(zip(names, answers.reshape(len(names), -1), strict=True))
    return score(solution, submission), bootstrap_interval(solution, submission)


def main() -> None:
    """Print the table for several settings of the noise."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5, 1.0])
    arguments = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.studies)
    made = each(measured, seeds, workers=arguments.workers, unit="study")
    scores = np.stack([item.scores for item in made])
    print(table_head("noise", "knows", *PARTS[:-1], f"{PARTS[-1]} (95 % interval)"))
    for noise in arguments.noise:
        labels = read(scores, noise=noise)
        answers_of = {
            "the measured narrowing": oracle(scores, noise=noise),
            "all measures but that": regression_predictions([item.fine for item in made], labels),
            "the same from 4 mm slices": regression_predictions([item.acquired for item in made], labels),
            "label shares per level": None,
        }
        for name, answers in answers_of.items():
            found, intervals = score_answers(labels, answers)
            low, high = intervals["mean"]
            cells = [f"{getattr(found, part):.3f}" for part in PARTS]
            print(table_row(f"{noise:g}", name, *cells[:-1], f"{cells[-1]} ({low:.3f} to {high:.3f})"))


if __name__ == "__main__":
    main()
