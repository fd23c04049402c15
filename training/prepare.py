"""Examples from the packs of real slices: `python -m training.prepare DATA CACHE`; see also `prepare_axial`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from evaluation.array_rows import concatenate
from training import pack_crops, packs
from training.examples import Examples, save, without_held_out

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
        "axial_points": lambda: packs.axial_points(arguments.data, spacing=0.625, shape=(160, 160)),
    }
    for name, build in jobs.items():
        examples = without_held_out(build())
        save(examples, arguments.cache / f"{name}.npz")
        logger.info("%s: %d examples of %d groups", name, len(examples.fold), len(set(examples.group)))


if __name__ == "__main__":
    main()
