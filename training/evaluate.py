"""Out-of-fold scores of finished grading runs: `python -m training.evaluate RUNS [--json FILE]`.

Every run left one fold out and predicted it; the figures here are pooled over those folds, per source, with a
bootstrap over studies. The prior beside them is the best constant per condition and level.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.schema import GROUPS, ROWS, group_of, prior
from training.train_grader import weighted_log_loss

DRAWS = 1000


def pooled(runs: Path) -> dict[tuple[str, str, str], dict[str, NDArray]]:
    """Predictions by member, source and condition: labels (n,), probabilities and prior (n, 3), group (n,)."""
    parts: dict[tuple[str, str, str], list[tuple]] = {}
    table = dict(zip(ROWS, prior(), strict=True))
    for path in sorted(runs.glob("*/oof.npz")):
        member = path.parent.name.rsplit("_", 1)[0]
        with np.load(path) as stored:
            oof = {name: stored[name] for name in stored.files}
        for head in range(oof["labels"].shape[1]):
            for index in np.flatnonzero(oof["labels"][:, head] >= 0):
                row = str(oof["row_id"][index, head]).partition("_")[2]
                key = (member, str(oof["source"][index]), group_of(row))
                entry = (oof["labels"][index, head], oof["probabilities"][index, head], table[row], oof["group"][index])
                parts.setdefault(key, []).append(entry)
    names = ("labels", "probabilities", "prior", "group")
    return {
        key: dict(zip(names, (np.array(column) for column in zip(*rows, strict=True)), strict=True))
        for key, rows in parts.items()
    }


def interval(labels: NDArray, probabilities: NDArray, group: NDArray, *, draws: int = DRAWS) -> tuple[float, float]:
    """95 % bootstrap interval of the weighted log loss, studies drawn with replacement."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    losses = []
    for _ in range(draws):
        chosen = np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))])
        losses.append(weighted_log_loss(labels[chosen], probabilities[chosen]))
    low, high = np.percentile(losses, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Print the table of the model card, or write it as JSON too."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = {}
    print("| member | source | condition | loss (95 % interval) | prior | crops | studies |")
    print("|---|---|---|---|---|---|---|")
    order = sorted(pooled(arguments.runs).items(), key=lambda item: (item[0][0], item[0][1], GROUPS.index(item[0][2])))
    for (member, source, condition), oof in order:
        loss = weighted_log_loss(oof["labels"], oof["probabilities"])
        low, high = interval(oof["labels"], oof["probabilities"], oof["group"])
        constant = weighted_log_loss(oof["labels"], oof["prior"])
        n, studies = len(oof["labels"]), len(set(oof["group"]))
        cells = (member, source, condition, f"{loss:.3f} ({low:.3f} to {high:.3f})", f"{constant:.3f}", n, studies)
        print(f"| {' | '.join(map(str, cells))} |")
        entry = {"loss": loss, "prior": constant, "low": low, "high": high, "n": n, "studies": studies}
        figures[f"{member}/{source}/{condition}"] = entry
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
