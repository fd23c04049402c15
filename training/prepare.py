"""Examples from the packs of real slices: `python -m training.prepare DATA CACHE`; see also `prepare_axial`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from evaluation.array_rows import concatenate
from training import pack_crops, packs
from training.examples import Examples, example_file, save, without_held_out

logger = logging.getLogger(__name__)


def main() -> None:
    """Write `sagittal.npz`, `foramina.npz`, `canal.npz` and `axial_points.npz` into the cache folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="folder of packs, laid out as shared/data")
    parser.add_argument("cache", type=Path, help="folder for the prepared examples")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    jobs: dict[str, Callable[[], Examples]] = {
        "sagittal": lambda: concatenate(packs.landmark_packs(arguments.data)),
        "foramina": lambda: pack_crops.foramina(arguments.data),
        "canal": lambda: pack_crops.canal(arguments.data),
        "axial_points": lambda: packs.axial_points(arguments.data),
    }
    for kind, build in jobs.items():
        store(build(), arguments.cache, kind)


def store(examples: Examples, cache: Path, kind: str) -> None:
    """Write the packs' examples of a kind without those that no training may see."""
    kept = without_held_out(examples)
    save(kept, example_file(cache, "packs", kind))
    logger.info("%s: %d examples of %d groups", kind, len(kept.fold), len(set(kept.group)))


if __name__ == "__main__":
    main()
