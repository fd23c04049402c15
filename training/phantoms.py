"""Examples from phantom studies: `python -m training.phantoms CACHE [--studies N]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from evaluation.array_rows import concatenate
from evaluation.study_truth import StudyTruth
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.phantom import CONTRASTS, PhantomTruth, make_phantom
from lumbar_kernel.processes import process_pool
from lumbar_kernel.views import BASIC_VIEWS, VIEWS
from training.examples import FOLDS, Examples, example_file, save
from training.studies import LANDMARK_KINDS, Origin, examples_of, kinds

FIRST_SEED = 1_000_000
"""Training phantoms start here; tests and benchmarks use seeds far below."""


CONTRAST_SHARES = (0.60, 0.25, 0.15)
"""Fractions of `CONTRASTS`; random grey values train landmarks only, since grades cannot be read in them."""


def truth_of(truth: PhantomTruth) -> StudyTruth:
    """A phantom's truth in the form of any study's."""
    return StudyTruth(
        disc_margin=truth.disc_margin,
        canal=truth.canal,
        disc_normal=truth.disc_normal,
        foramina=truth.foramina,
        recesses=truth.recesses,
        grades=truth.grades,
    )


def phantom_examples(seed: int, *, views: Sequence[str] = BASIC_VIEWS) -> dict[str, Examples]:
    """All kinds of example from the phantom of a seed, with stenosis more common than in the competition."""
    contrast = str(np.random.default_rng((seed, 2)).choice(CONTRASTS, p=CONTRAST_SHARES))
    phantom = make_phantom(seed, study_id=str(seed), balanced=True, contrast=contrast)
    origin = Origin(group=f"phantom-{seed}", fold=seed % FOLDS, source="phantom")
    rng = np.random.default_rng((seed, 1))
    examples = examples_of(phantom.study, truth_of(phantom.truth), origin, rng, views=views)
    if contrast == "random":
        return {name: own for name, own in examples.items() if name in LANDMARK_KINDS}
    return examples


def main() -> None:
    """Write `phantom_<kind>.npz` for every kind of example."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes (default: as many as cores)")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=BASIC_VIEWS, help="of the graders to train")
    arguments = parser.parse_args()
    parts: dict[str, list[Examples]] = {name: [] for name in kinds(arguments.views)}
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.studies)
    with process_pool(arguments.workers, with_main=True) as pool:
        made = pool.map(partial(phantom_examples, views=arguments.views), seeds, chunksize=4)
        for of_phantom in tqdm(made, total=len(seeds), unit="study"):
            for name, examples in of_phantom.items():
                parts[name].append(examples)
    for name, several in parts.items():
        if several:  # else all phantoms have random contrast, in which grades cannot be read
            save(concatenate(several), example_file(arguments.cache, "phantoms", name))


if __name__ == "__main__":
    main()
