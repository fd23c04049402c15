"""Graded axial crops at the recesses that the kernel finds: `python -m training.prepare_axial DATA CACHE [RUN…]`.

Each fold is cut by the axial localiser that was trained without it, so that graders learn with its true errors.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from lumbar_kernel.models.manifest import LANDMARKS, read_manifest
from training import pack_crops
from training.fold_checkpoints import axial_checkpoints, localiser_runs
from training.prepare import store


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
        localisers = axial_checkpoints(read_manifest(None), out_of_fold=True)
    store(pack_crops.axial(arguments.data, localisers), arguments.cache, "axial")


if __name__ == "__main__":
    main()
