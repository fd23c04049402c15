"""What passes for an axial slice of the spine: `python -m training.spineless DATA_DIR [--json FILE]`.

Marked crops and the slices beside them should, pictures without anatomy and of other anatomy should not. What is made
of crops is judged by the one axial localiser that has not seen their study, sagittal slices by all together.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from evaluation.real_slices import pictures
from lumbar_kernel.localisation.axial import WINDOW_SHAPE, WINDOW_SPACING_MM, recesses_on
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.study import Slice
from training.augment import NOTHING, without_anatomy
from training.fold_checkpoints import FoldCheckpoints, exported
from training.marked_pictures import AxialCrop, axial_crops
from training.pack_crops import axial_slices
from training.single_slice import FIELD_MM, axial_slice

SAGITTAL = 1000
"""Sagittal slices that are shown as axial ones."""


def versions(crop: AxialCrop, rng: np.random.Generator) -> Iterator[tuple[str, Slice]]:
    """The slices of a crop, and what the marked one becomes without its anatomy and upside down."""
    below, marked, above = axial_slices(crop)
    yield from (("the slice below", below), ("the marked slice", marked), ("the slice above", above))
    for kind in NOTHING:
        made = without_anatomy(marked.pixels.astype(np.uint8), rng, kind=kind)
        yield kind, replace(marked, pixels=made.astype(np.float32))
    yield "upside down", replace(marked, pixels=np.ascontiguousarray(marked.pixels[::-1, ::-1]))


def sagittal_pictures(data: Path) -> Iterator[tuple[str, Slice]]:
    """Sagittal T1 slices in their usual field of view, of which the search window shows the middle, and others."""
    window = WINDOW_SHAPE[1] * WINDOW_SPACING_MM
    fields = {"the middle of a sagittal slice": FIELD_MM, "magnified": FIELD_MM * 2, "the whole slice": window}
    for _, picture in islice(pictures(data / "sagittal_t1"), SAGITTAL):
        for kind, field in fields.items():
            yield kind, axial_slice(picture, mm=field / max(picture.shape))


def passing(slices: Sequence[Slice], nets: Sequence[HeatmapNet]) -> list[bool]:
    """Which of some slices show a spine, looked at around the patient's origin."""
    return [level.shows_spine for level in recesses_on(slices, np.zeros((len(slices), 3)), nets)]


def measure(data: Path, checkpoints: FoldCheckpoints[HeatmapNet]) -> dict[str, dict[str, float]]:
    """The fraction of each kind of picture that passes, and how many there were."""
    rng = np.random.default_rng(0)
    crops = list(axial_crops(data))
    passed: dict[str, list[bool]] = {}
    for chosen, nets in checkpoints.of_rows([crop.fold for crop in crops]):
        for kind, slices in _by_kind(item for index in chosen for item in versions(crops[index], rng)).items():
            passed.setdefault(kind, []).extend(passing(slices, nets))
    for kind, slices in _by_kind(sagittal_pictures(data)).items():  # none of the networks has seen any
        passed[kind] = passing(slices, checkpoints.all_nets)
    return {kind: {"passing": float(np.mean(found)), "n": len(found)} for kind, found in passed.items()}


def _by_kind(named: Iterable[tuple[str, Slice]]) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = {}
    for kind, item in named:
        found.setdefault(kind, []).append(item)
    return found


def main() -> None:
    """Measure, print the table, and write it as JSON where requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--weights", type=Path, help="folder with manifest.json (default: the package's own)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    manifest = read_manifest(arguments.weights)
    found = measure(arguments.data, exported(manifest, manifest.axial, out_of_fold=True))
    print("| picture | passes for a slice of the spine | n |\n|---|---|---|")
    for kind, figures in found.items():
        print(f"| {kind} | {figures['passing']:.2%} | {figures['n']:,} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
