"""Archive runs that lose a node or their driver at random moments, and archives with broken studies.

Each function runs `lumbar-kernel archive` as a user does, in processes of its own, and compares what is on disk in the
end with the grades of `predict`: every study once, with 25 rows each once, and the same numbers.
"""

from __future__ import annotations

import io
import itertools
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pydicom
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.kaggle.check import study_ids
from benchmarks.kaggle.multiply import multiply
from benchmarks.robustness.mutations import KINDS
from lumbar_kernel.config import Config
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK
from lumbar_kernel.results.submission import load_submission
from lumbar_kernel.runtime.supervisor import predict
from lumbar_kernel.schema import ROWS, SEVERITIES, row_ids

TOLERANCE = 1e-5
"""Most that a probability may differ from the one of `predict`."""

ROUNDING = 5e-7 * 2
"""`submission.csv` of `predict` holds six digits, normalised once more."""

FINISHED = (EXIT_OK, EXIT_DEGRADED)
"""Exit codes of a run that came to its end."""

SPARE_STARTS = 2
"""Ray gives its processes thirty seconds to start and gives up on an overloaded machine; then the run is started again,
as its owner would."""

STARTS_A_KILL = 3
"""A run that ends before its driver is killed is followed by another one, so often at most for each kill."""

Expected = Mapping[str, np.ndarray]
"""Study id → (25, 3) probabilities."""


@dataclass(frozen=True)
class Trial:
    """One run with something lost on the way.

    Attributes:
        after: seconds after which it was lost, at the latest where several were; None where nothing was.
        faults: a sentence on everything that is wrong in the end.
        seconds: of the whole trial.
        kills: how much was lost: nodes or drivers that were still at work.
        started: how often the command was started.
    """

    after: float | None
    faults: tuple[str, ...]
    seconds: float
    kills: int
    started: int = 1


@dataclass(frozen=True)
class Setting:
    """An archive with the grades that its studies must get.

    Attributes:
        data: in the competition's layout.
        expected: of `predict`.
        weights: folder, None for the package's own.
        shard_studies: studies in a shard.
    """

    data: Path
    expected: Expected
    weights: Path | None
    shard_studies: int = 8

    def command(self, out: Path, *options: str) -> list[str]:
        """The command line of a run."""
        weights = [] if self.weights is None else ["--weights", str(self.weights)]
        shards = ["--shard-studies", str(self.shard_studies)]
        words = ["archive", str(self.data), "--out", str(out), "--quiet", *shards, *weights, *options]
        return [sys.executable, "-m", "lumbar_kernel", *words]


def prepare(originals: Path, folder: Path, *, studies: int, weights: Path | None, shard_studies: int = 8) -> Setting:
    """An archive of so many links to a few studies, and what `predict` makes of these studies.

    Args:
        originals: in the competition's layout.
        folder: to write to.
        studies: of the archive.
        weights: folder, None for the package's own.
        shard_studies: studies in a shard.
    """
    data = multiply(originals, folder / "data", studies=studies)
    predict(Config(data=originals, output=folder / "predicted", weights=weights, device="cpu", progress=False))
    grades = load_submission(folder / "predicted" / "submission.csv")
    of_originals = [np.array([grades[row] for row in row_ids(name)]) for name in study_ids(originals)]
    expected = dict(zip(study_ids(data), itertools.cycle(of_originals), strict=False))  # the order of `multiply`
    return Setting(data, expected, weights, shard_studies)


def faults_of(out: Path, expected: Expected, *, but: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with the results in a folder.

    Args:
        out: of the run.
        expected: studies and their grades.
        but: studies whose grades may differ, since their files were broken.
    """
    studies = pq.read_table(out / "studies", columns=["study_id"]).column("study_id").to_pylist()
    found: list[str] = []
    counts = Counter(studies)
    found += [f"{name} is there {count} times" for name, count in counts.items() if count > 1]
    found += [f"{name} is lost" for name in expected if name not in counts]
    found += [f"{name} is unknown" for name in counts if name not in expected]
    grades = pq.read_table(out / "grades", columns=["row_id", *SEVERITIES]).to_pydict()
    rows = Counter(grades["row_id"])
    found += [f"row {name} is there {count} times" for name, count in rows.items() if count > 1]
    if len(rows) != len(ROWS) * len(expected):
        found.append(f"{len(rows)} rows of {len(expected)} studies")
    values = {name: tuple(grades[key][place] for key in SEVERITIES) for place, name in enumerate(grades["row_id"])}
    for name, wanted in expected.items():
        own = np.array([values.get(f"{name}_{row}", (np.nan,) * 3) for row in ROWS])
        if name not in but and not (np.abs(own - wanted) <= TOLERANCE + ROUNDING).all():
            found.append(f"{name} differs by {np.abs(own - wanted).max():.2g}")
    return found


def kill_nodes(
    setting: Setting, folder: Path, *, times: int, undisturbed: bool = True, longest: float = 0.0, seed: int = 0
) -> Iterator[Trial]:
    """Runs on a cluster of three nodes, of which one is killed at a random moment of each run that takes so long.

    Args:
        setting: archive and grades.
        folder: for the results.
        times: runs with a lost node.
        undisturbed: run once without, first, to learn how long a run takes.
        longest: seconds after which a node is lost at the latest, unless that is learned.
        seed: of the moments.
    """
    rng = random.Random(seed)
    for number in range(-1 if undisturbed else 0, times):
        out = folder / f"node_{number}"
        delay, lost = None if number < 0 else rng.uniform(0.0, longest), False
        with three_nodes() as (cluster, nodes):
            began = time.monotonic()
            with subprocess.Popen(setting.command(out, "--ray", cluster.address), stdout=subprocess.DEVNULL) as run:
                try:
                    run.wait(delay)
                except subprocess.TimeoutExpired:
                    cluster.remove_node(rng.choice(nodes), allow_graceful=False)
                    lost = True
                code = run.wait()
            seconds = time.monotonic() - began
        longest = seconds if delay is None else longest
        faults = _faults_at_the_end(out, setting, code)
        shutil.rmtree(out, ignore_errors=True)
        yield Trial(delay if lost else None, tuple(faults), seconds, int(lost))


def _faults_at_the_end(out: Path, setting: Setting, code: int) -> list[str]:
    """What is wrong with a run that ended with this exit code."""
    return faults_of(out, setting.expected) if code in FINISHED else [f"exit code {code}"]


@contextmanager
def three_nodes() -> Iterator[tuple[Any, list[Any]]]:
    """A cluster of three nodes of one core each on this machine, and the two nodes that may be killed."""
    cluster, nodes = _started()
    try:
        yield cluster, nodes
    finally:
        cluster.shutdown()


def _started() -> tuple[Any, list[Any]]:
    """The cluster of `three_nodes`, started again where the machine was too busy for it."""
    from ray.cluster_utils import Cluster

    for left in reversed(range(1 + SPARE_STARTS)):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False)
            nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
            cluster.wait_for_nodes()
        except Exception:  # Ray raises nothing more exact
            cluster.shutdown()
            if not left:
                raise
        else:
            return cluster, nodes
    raise AssertionError


def kill_drivers(setting: Setting, folder: Path, *, times: int, longest: float, seed: int = 0) -> Trial:
    """Runs whose drivers are killed so many times in all, at random moments, and started again until they end.

    What was on disk when a driver was killed must stay as it is. A run that ends before the last kill is followed by
    one in another folder.

    Args:
        setting: archive and grades.
        folder: for the results.
        times: drivers to kill.
        longest: seconds after which a driver is killed at the latest.
        seed: of the moments.
    """
    rng, began = random.Random(seed), time.monotonic()
    kills = started = ended = spared = 0
    kept: dict[Path, int] = {}
    faults: list[str] = []
    while True:
        out, last = folder / f"driver_{ended}", kills == times or started >= STARTS_A_KILL * times
        code = _exit_code(setting.command(out), None if last else rng.uniform(0.0, longest))
        started += 1
        present = {path: path.stat().st_mtime_ns for path in out.glob("studies/*/*.parquet")}
        faults += [f"{path.name} was written again" for path, at in kept.items() if present.get(path) != at]
        kept = present
        if code is None:
            kills += 1
        elif code not in FINISHED and spared < SPARE_STARTS:
            spared += 1
        else:
            faults += _faults_at_the_end(out, setting, code)
            shutil.rmtree(out, ignore_errors=True)
            ended, kept = ended + 1, {}
            if last or code not in FINISHED:
                break
    if kills < times:
        faults.append(f"{kills} of {times} drivers were killed, the other runs ended first")
    return Trial(longest if kills else None, tuple(faults), time.monotonic() - began, kills, started)


def _exit_code(command: Sequence[str], seconds: float | None) -> int | None:
    """Of a command that is killed after so many seconds, None if it was; it must not take its processes along."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        try:
            return run.wait(seconds)
        except subprocess.TimeoutExpired:
            run.kill()
            return None


def break_studies(setting: Setting, *, kinds: Sequence[str] = tuple(KINDS), seed: int = 0) -> dict[str, str]:
    """Break every file of one study for each kind of damage; returns study id → kind."""
    studies = sorted(setting.expected)
    step = max(1, len(studies) // len(kinds))
    broken = dict(zip(studies[::step], kinds, strict=False))
    for number, (study_id, kind) in enumerate(broken.items()):
        for place, path in enumerate(sorted((setting.data / "test_images" / study_id).glob("*/*.dcm"))):
            raw = _uncompressed(path)
            path.unlink()
            KINDS[kind](path, raw, np.random.default_rng([seed, number, place]))
    return broken


def _uncompressed(path: Path) -> bytes:
    """A file as Explicit VR Little Endian without compression, which the mutations work on."""
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stored = io.BytesIO()
    dataset.save_as(stored, enforce_file_format=True)
    return stored.getvalue()


def unexplained(out: Path, broken: Mapping[str, str]) -> list[str]:
    """Broken studies that have fewer grades and no reason; those that are lost are named by `faults_of`."""
    columns = ["study_id", "graded_rows", "missing", "failures"]
    rows = {row["study_id"]: row for row in pq.read_table(out / "studies", columns=columns).to_pylist()}
    short = [row for name in broken if (row := rows.get(name)) and row["graded_rows"] < len(ROWS)]
    return [
        f"{row['study_id']} ({broken[row['study_id']]}) has no reason"
        for row in short
        if not (row["missing"] or row["failures"])
    ]
