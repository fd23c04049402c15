"""A model card's tables from what a recipe left: `python -m training.model_card WEIGHTS RUNS`.

WEIGHTS is an exported folder, RUNS the folder of the runs behind it. `README.md` in WEIGHTS gets the networks with
their length, size and time, what each condition is graded by, and the cross-fitted scores where they were measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lumbar_kernel.models.manifest import LocaliserSpec, Manifest, MemberSpec, read_manifest
from lumbar_kernel.results.metric import PARTS
from lumbar_kernel.schema import GROUPS
from lumbar_kernel.views import VIEWS
from training.pretrained import FROM_PACKAGE
from training.run_results import is_finished, settings_of

SCORES = "scores.json"

INTRODUCTION = """# Model card

Trained by `training.recipe` from random weights or from the checkpoints named below. For research and competitions; not
a medical device, not for diagnosis or treatment. Weights trained on the challenge's images carry their limit:
non-commercial research, CC BY-NC 4.0. The number after a file's name is the fold of studies that it has not seen.
"""


def card(manifest: Manifest, runs: Path) -> str:
    """The whole card; runs that are gone leave their columns empty."""
    parts = [INTRODUCTION, "## Networks\n", *_networks(manifest, runs), "", "## Conditions\n", *_conditions(manifest)]
    scores = manifest.folder / SCORES
    if scores.is_file():
        parts += ["", "## Scores\n", *_scores(json.loads(scores.read_text()))]
    return "\n".join(parts) + "\n"


def _networks(manifest: Manifest, runs: Path) -> Iterator[str]:
    yield "| network | architecture | grades or finds | folds | length | start | MB | seconds a study |"
    yield "|---|---|---|---|---|---|---|---|"
    specs: tuple[LocaliserSpec | MemberSpec, ...] = (manifest.sagittal, manifest.axial, *manifest.members)
    for spec in specs:
        run = runs / Path(spec.files[0].file).stem
        settings = settings_of(run) if is_finished(run) else {}
        size = sum((manifest.folder / item.file).stat().st_size for item in spec.files) / 1e6
        cells = (
            spec.name,
            spec.architecture,
            _subject(spec),
            ", ".join(str(item.fold) for item in spec.files),
            _length(settings),
            _start(settings),
            f"{size:.1f}",
            f"{spec.seconds_per_study:.2f}" if isinstance(spec, MemberSpec) else "–",
        )
        yield f"| {' | '.join(cells)} |"


def _subject(spec: LocaliserSpec | MemberSpec) -> str:
    if isinstance(spec, LocaliserSpec):
        return f"{spec.points} landmarks"
    rows, columns = VIEWS[spec.view].geometry.shape
    return f"{spec.view}, {VIEWS[spec.view].geometry.slices} slices of {rows} × {columns}"


def _start(settings: Mapping[str, str]) -> str:
    """What a run began with: the last weights that it was given."""
    for name in ("start_run", "start_weights", "pretrained"):
        if (start := settings.get(name, "None")) != "None":
            return "ImageNet" if start == FROM_PACKAGE else Path(start).name
    return "random"


def _length(settings: dict[str, str]) -> str:
    for unit in ("steps", "epochs"):
        if settings.get(unit, "None") != "None":
            return f"{settings[unit]} {unit} of {settings['batch']}"
    return "–"


def _conditions(manifest: Manifest) -> Iterator[str]:
    yield "| condition | members with their fitted weights |"
    yield "|---|---|"
    for group in GROUPS:
        own = [f"{spec.name} {spec.weight(group):.2f}" for spec in manifest.members if spec.weight(group) > 0]
        yield f"| {group} | {', '.join(own) or 'none: the prior'} |"


def _scores(scores: Mapping[str, Any]) -> Iterator[str]:
    yield f"Whole studies out of fold, {scores['studies']} of them, {scores['rows']} rows, places by the kernel.\n"
    yield "| weighted log loss | loss (95 % interval) | prior |"
    yield "|---|---|---|"
    for part in PARTS:
        item = scores[part]
        low, high = item["interval"]
        yield f"| {part} | {item['loss']:.3f} ({low:.3f} to {high:.3f}) | {item['prior']:.3f} |"


def main() -> None:
    """Write the card into the folder of weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS")
    parser.add_argument("runs", type=Path, metavar="RUNS")
    given = parser.parse_args()
    (given.weights / "README.md").write_text(card(read_manifest(given.weights), given.runs), encoding="utf-8")


if __name__ == "__main__":
    main()
