"""Examples from phantom studies: `python -m training.phantoms CACHE [--studies N]`."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lumbar_kernel.phantom import CONTRASTS, PhantomTruth, make_phantom
from training.examples import FOLDS, Examples, LandmarkExamples, concatenate, save
from training.studies import KINDS, Origin, StudyTruth, examples_of

FIRST_SEED = 1_000_000
"""Training phantoms start here; tests and benchmarks use seeds far below."""


CONTRAST_SHARES = (0.60, 0.25, 0.15)
"""Shares of `CONTRASTS` (design note, section 6.11); with random greys a grade cannot be read, only places learnt."""


def truth_of(truth: PhantomTruth) -> StudyTruth:
    """A phantom's truth as that of any study."""
    return StudyTruth(
        disc_margin=truth.disc_margin,
        canal=truth.canal,
        disc_normal=truth.disc_normal,
        foramina=truth.foramina,
        recesses=truth.recesses,
        grades=truth.grades,
    )


def phantom_examples(seed: int) -> dict[str, Examples]:
    """All kinds of example from the phantom of a seed, narrowing commoner than in the competition."""
    contrast = str(np.random.default_rng((seed, 2)).choice(CONTRASTS, p=CONTRAST_SHARES))
    phantom = make_phantom(seed, study_id=str(seed), balanced=True, contrast=contrast)
    origin = Origin(group=f"phantom-{seed}", fold=seed % FOLDS, source="phantom")
    made = examples_of(phantom.study, truth_of(phantom.truth), origin, np.random.default_rng((seed, 1)))
    if contrast == "random":
        return {name: examples for name, examples in made.items() if KINDS[name] is LandmarkExamples}
    return made


def main() -> None:
    """Write `phantom_<kind>.npz` for every kind of example."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    parts: dict[str, list[Examples]] = {name: [] for name in KINDS}
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.studies)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        for made in tqdm(pool.map(phantom_examples, seeds, chunksize=4), total=len(seeds), unit="study"):
            for name, examples in made.items():
                parts[name].append(examples)
    for name, several in parts.items():
        save(concatenate(several), arguments.cache / f"phantom_{name}.npz")


if __name__ == "__main__":
    main()
