"""Fit the phantom's grade thresholds to the competition's label shares: `python -m benchmarks.phantom.fit_thresholds`.

Measures many phantoms (geometry only, no images) and writes `lumbar_kernel/phantom/grade_thresholds.py`. Needed after
any change of a mechanism or a measure, and only then: grades stay comparable as long as that file stays.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import NormalDist

import numpy as np

from benchmarks.phantom.each import each
from benchmarks.phantom.labels import SHARES, columns
from lumbar_kernel import schema
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom import make_truth
from lumbar_kernel.phantom.measure import MEASURES, SCALED, score

FIRST_SEED = 50_000_000
PROBITS = np.arange(-2.0, 3.01, 0.5)
TARGET = Path(__file__).parents[2] / "lumbar_kernel" / "phantom" / "grade_thresholds.py"

HEAD = '''"""Frozen scales and thresholds of the grades, written by `benchmarks.phantom.fit_thresholds`; do not edit.

Fitted on {studies} phantoms, seeds from {first} upwards: quantiles of their scores at the competition's shares of
grades, per condition and level, both sides together. Any change of a mechanism or a measure calls for a new fit.
"""

from __future__ import annotations

import numpy as np

VERSION = {version}
"""Rises with every fit; grades of two versions are not comparable."""

'''


def measure_many(studies: int, workers: int) -> dict[str, FloatArray]:
    """Measures (studies, 5) by name of `studies` phantoms of the ordinary cohort."""
    seeds = range(FIRST_SEED, FIRST_SEED + studies)
    made = [truth.measures for truth in each(make_truth, seeds, workers=workers, unit="study")]
    return {name: np.stack([measures[name] for measures in made]) for name in MEASURES}


def fit_scales(measures: dict[str, FloatArray]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of every scaled quantity, levels and sides pooled."""
    pooled = {name: np.concatenate(part(measures)) for name, part in SCALED.items()}
    return {name: (round(float(own.mean()), 4), round(float(own.std()), 4)) for name, own in pooled.items()}


def fit_thresholds(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Thresholds (25, 2) at `labels.SHARES` and scores at `PROBITS` (25, n) from scores (studies, 25)."""
    below = [100 * NormalDist().cdf(float(z)) for z in PROBITS]
    thresholds, knots = np.zeros((len(schema.ROWS), schema.SEVERE)), np.zeros((len(schema.ROWS), len(PROBITS)))
    for group, shares in SHARES.items():
        for level, of_level in enumerate(shares):
            rows = columns(group, level)
            pooled = scores[:, rows].ravel()
            thresholds[rows] = np.percentile(pooled, np.cumsum(of_level[:-1]))
            knots[rows] = np.percentile(pooled, below)
    return thresholds, knots


def _table(name: str, values: FloatArray, comment: str) -> str:
    rows = "\n".join(f"        ({', '.join(f'{x:.4f}' for x in row)})," for row in values)
    return f'{name} = np.array(\n    (\n{rows}\n    )\n)\n"""{comment}"""\n'


def written(measures: dict[str, FloatArray], *, version: int) -> str:
    """The text of `grade_thresholds.py` for measured phantoms."""
    scales = fit_scales(measures)
    studies = len(next(iter(measures.values())))
    scores = np.array([score({k: v[i] for k, v in measures.items()}, scales=scales) for i in range(studies)])
    thresholds, knots = fit_thresholds(scores)
    lines = "\n".join(f'    "{name}": ({mean}, {spread}),' for name, (mean, spread) in scales.items())
    parts = [
        HEAD.format(studies=studies, first=FIRST_SEED, version=version),
        f'SCALES = {{\n{lines}\n}}\n"""Mean and standard deviation by which each measure enters a score."""\n\n',
        _table("THRESHOLDS", thresholds, "Scores from which a row of `schema.ROWS` is moderate, and severe."),
        f"\nPROBITS = np.array(({', '.join(str(float(x)) for x in PROBITS)}))\n\n",
        _table("QUANTILES", knots, "Scores of each row of `schema.ROWS` at the normal deviates `PROBITS`."),
    ]
    return "".join(parts)


def main() -> None:
    """Measure, fit and write the file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--studies", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--version", type=int, required=True, help="one more than that of the file in place")
    arguments = parser.parse_args()
    TARGET.write_text(written(measure_many(arguments.studies, arguments.workers), version=arguments.version))


if __name__ == "__main__":
    main()
