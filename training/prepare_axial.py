"""Graded axial crops at the recesses that the kernel finds: `python -m training.prepare_axial DATA CACHE [RUN…]`.

Each fold is cut by the axial localiser that was trained without it, so that graders learn with its true errors. Folds
that every localiser has seen, where only some were trained, are cut by all: graders need their crops.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from pathlib import Path

from lumbar_kernel.models.manifest import LANDMARKS, read_manifest
from training import pack_crops
from training.fold_checkpoints import exported, localiser_runs
from training.prepare import store

logger = logging.getLogger(__name__)


def main() -> None:
    """Write `axial.npz` into the cache folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="folder of packs, laid out as shared/data")
    parser.add_argument("cache", type=Path, help="folder for the prepared examples")
    parser.add_argument(
        "runs",
        type=Path,
        nargs="*",
        metavar="RUN",
        help="finished runs of the axial localiser (default: the package's own weights)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.runs:
        localisers = localiser_runs(arguments.runs, points=LANDMARKS["axial"])
    else:
        manifest = read_manifest(None)
        localisers = exported(manifest, manifest.axial, out_of_fold=True)
    crops = pack_crops.axial(arguments.data, localisers, every_fold=True)
    for fold, count in sorted(Counter(crops.fold.tolist()).items()):
        if fold not in {net_fold for net_fold, _ in localisers.nets}:
            logger.warning("%d crops of fold %d are cut by localisers that have seen them: too well", count, fold)
    store(crops, arguments.cache, "axial")


if __name__ == "__main__":
    main()
