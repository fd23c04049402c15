"""Score of the shipped weights on full phantom studies that no training saw: `python -m benchmarks.phantom.score`."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from lumbar_kernel import Config, predict
from lumbar_kernel.phantom import write_dataset
from lumbar_kernel.results.metric import PARTS, bootstrap_interval, constant_submission, load_solution, score
from lumbar_kernel.results.submission import load_submission

SEED = 500
"""Training phantoms start at seed 1,000,000."""


def phantom_score(
    folder: Path, *, studies: int, seed: int = SEED, weights: Path | None = None, reader_noise: float = 0.0
) -> dict[str, object]:
    """Make studies, grade them with the whole kernel, and score them.

    Args:
        folder: for studies and results.
        studies: how many.
        seed: of the first.
        weights: other than the package's own.
        reader_noise: how much the readers who graded the truth disagree; 0 for exact grades.

    Returns:
        The official metric with its parts and 95 % intervals, the per-level prior's, and seconds per study.
    """
    data = folder / "data"
    write_dataset(data, studies=studies, seed=seed, workers=2, reader_noise=reader_noise)
    config = Config(data=data, output=folder / "out", weights=weights, progress=False, strict=True)
    report = predict(config)
    solution, submission = load_solution(data / "truth.csv"), load_submission(config.submission_path)
    return {
        "score": asdict(score(solution, submission)),
        "interval": bootstrap_interval(solution, submission, seed=0),
        "prior": asdict(score(solution, constant_submission(solution))),
        "seconds_per_study": report.seconds / studies,
        "studies": studies,
    }


def main() -> None:
    """Print the table, or write it as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--reader-noise", type=float, default=0.0, help="of the truth; 1 is like that of real readers")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = phantom_score(
            Path(folder), studies=arguments.studies, seed=arguments.seed, reader_noise=arguments.reader_noise
        )
    print(f"| {figures['studies']} phantom studies | kernel (95 % interval) | prior |")
    print("|---|---|---|")
    for name in PARTS:
        low, high = figures["interval"][name]
        print(f"| {name} | {figures['score'][name]:.3f} ({low:.3f} to {high:.3f}) | {figures['prior'][name]:.3f} |")
    print(f"\n{figures['seconds_per_study']:.1f} s a study, everything included")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
