"""Archive runs on Ray: lost nodes, killed drivers, broken studies, a large index, speed.

    python -m benchmarks.archive nodes --studies 200 --times 20
    python -m benchmarks.archive drivers --studies 200 --times 20
    python -m benchmarks.archive broken --studies 46
    python -m benchmarks.archive index --files 1000000 --kill-after 400
    python -m benchmarks.archive speed --studies 40

The first three run with fewer members, so that many runs fit into an evening; `--members all` takes the package's own
weights. Each prints a line a run and ends with exit code 1 if anything was lost, graded twice or graded differently.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.robustness import archive_index
from benchmarks.robustness.archive_kills import (
    FINISHED,
    Setting,
    break_studies,
    faults_of,
    kill_drivers,
    kill_nodes,
    prepare,
    unexplained,
)
from benchmarks.robustness.light_weights import light_weights
from benchmarks.speed import archive_speed
from lumbar_kernel.phantom import write_dataset

ORIGINALS = 10
SEED = 8


def main() -> None:
    """Run one of the benchmarks and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("nodes", "drivers", "broken", "index", "speed"))
    parser.add_argument("--studies", type=int, default=40, help="of the archive (default: 40)")
    parser.add_argument("--originals", type=int, default=ORIGINALS, help="different phantoms among them (default: 10)")
    parser.add_argument("--data", type=Path, help="folder in the competition's layout to take in place of phantoms")
    parser.add_argument("--times", type=int, default=3, help="runs with a loss (default: 3)")
    parser.add_argument("--longest", type=float, default=60.0, help="latest kill of a driver, seconds (default: 60)")
    parser.add_argument("--shard-studies", type=int, default=8, help="studies in a shard (default: 8)")
    parser.add_argument("--members", choices=("light", "all"), default="light", help="members that grade")
    parser.add_argument("--files", type=int, default=100_000, help="of the index (default: 100000)")
    parser.add_argument("--kill-after", type=float, default=0.0, help="kill the index once after so many seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--folder", type=Path, help="where to work, a temporary folder when left out")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        faults = _run(chosen, Path(folder))
    if faults:
        print("\n".join(faults))
        raise SystemExit(1)


def _run(chosen: argparse.Namespace, folder: Path) -> Sequence[str]:
    if chosen.what == "index":
        print(archive_index.measure(folder, files=chosen.files, kill_after=chosen.kill_after))
        return ()
    originals = chosen.data or folder / "originals"
    if chosen.data is None:
        write_dataset(originals, studies=chosen.originals, seed=SEED, split="test", workers=2, progress=False)
    if chosen.what == "speed":
        speed = archive_speed.measure(originals, folder, studies=chosen.studies)
        print(f"{speed}\ntwo cores against one: {speed.gain:.2f} x, against predict: {speed.ratio:.2f} x")
        return ()
    weights = light_weights(folder / "weights") if chosen.members == "light" else None
    size = chosen.shard_studies
    setting = prepare(originals, folder, studies=chosen.studies, weights=weights, shard_studies=size)
    return {"nodes": _nodes, "drivers": _drivers, "broken": _broken}[chosen.what](setting, folder, chosen)


def _nodes(setting: Setting, folder: Path, chosen: argparse.Namespace) -> list[str]:
    faults: list[str] = []
    kills = 0
    for number, trial in enumerate(kill_nodes(setting, folder, times=chosen.times, seed=chosen.seed)):
        what = "undisturbed" if number == 0 else "ended before a node was lost"
        if trial.after is not None:
            what = f"node lost after {trial.after:.1f} s"
        print(f"{what}, {trial.seconds:.1f} s: {len(trial.faults)} faults", flush=True)
        faults, kills = faults + list(trial.faults), kills + trial.kills
    print(f"{kills} of {chosen.times} runs lost a node: {len(faults)} faults")
    return faults


def _drivers(setting: Setting, folder: Path, chosen: argparse.Namespace) -> list[str]:
    trial = kill_drivers(setting, folder, times=chosen.times, longest=chosen.longest, seed=chosen.seed)
    counts = f"{trial.kills} drivers killed of {trial.started} started"
    print(f"{counts} in {trial.seconds:.1f} s: {len(trial.faults)} faults")
    return list(trial.faults)


def _broken(setting: Setting, folder: Path, chosen: argparse.Namespace) -> list[str]:
    broken = break_studies(setting, seed=chosen.seed)
    code = subprocess.run(setting.command(folder / "out"), check=False).returncode
    print(f"{len(broken)} of {len(setting.expected)} studies broken, exit code {code}")
    if code not in FINISHED:
        return [f"exit code {code}"]
    return faults_of(folder / "out", setting.expected, but=frozenset(broken)) + unexplained(folder / "out", broken)


if __name__ == "__main__":
    main()
