"""Score of the shipped weights on full phantom studies that no training saw: `python -m benchmarks.phantom.score`."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.tables import table_head, table_row
from evaluation.phantom_score import SEED, phantom_score
from lumbar_kernel.results.metric import PARTS


def main() -> None:
    """Print the table, or write it as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--reader-noise", type=float, default=0.0, help="rater noise of the truth; 1 is like that of real radiologists"
    )
    parser.add_argument("--json", type=Path, help="write the metrics here as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        metrics = phantom_score(
            Path(folder), studies=arguments.studies, seed=arguments.seed, reader_noise=arguments.reader_noise
        )
    print(table_head(f"{metrics['studies']} phantom studies", "kernel (95 % interval)", "prior"))
    for name in PARTS:
        low, high = metrics["interval"][name]
        loss = f"{metrics['score'][name]:.3f} ({low:.3f} to {high:.3f})"
        print(table_row(name, loss, f"{metrics['prior'][name]:.3f}"))
    print(f"\n{metrics['seconds_per_study']:.1f} s per study, everything included")
    if arguments.json:
        arguments.json.write_text(json.dumps(metrics, indent=1) + "\n")


if __name__ == "__main__":
    main()
