"""`archive`: every study of an index graded on a Ray cluster, each once, results as Parquet."""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ray
import ray.exceptions

from lumbar_kernel.archive.cluster import MAX_RETRIES, connected, cores_beside_gpus, in_flight
from lumbar_kernel.archive.defaults import CUDA, DEVICES, SHARD_STUDIES
from lumbar_kernel.archive.ids import AS_THEY_ARE, Ids
from lumbar_kernel.archive.index import Index, IndexOptions, build_index
from lumbar_kernel.archive.result_schema import INDEX_FOLDER
from lumbar_kernel.archive.results import ResultSet
from lumbar_kernel.archive.shard_task import RUN_FILE, Tally, Work, grade_shard, record_lost
from lumbar_kernel.archive.shards import Shard, shards
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.config import STUDY_SECONDS, check_study_seconds
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.errors import ConfigError, KernelError, WorkerStartError
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.output_names import SUBMISSION
from lumbar_kernel.runtime.devices import AUTO, CPU

logger = logging.getLogger(__name__)

GPU_SHARE, GPU_CORES = 0.25, 2
"""Share of a GPU and cores that a task asks Ray for: four tasks a GPU, of one core where its nodes have no more."""


@dataclass(frozen=True, kw_only=True)
class ArchiveOptions:
    """A run over an archive.

    Attributes:
        data: path or URL.
        out: folder for index and results, which every node must reach.
        ray: address of a cluster, None to start Ray on this machine.
        shard_studies: studies in a shard.
        split: of the competition's data, one of `SPLITS`.
        weights: folder with `manifest.json`, at the same path on every node; None for the package's own.
        device: "cpu", "cuda", or "auto" for cuda where the cluster has GPUs.
        ids: how ids are published.
        study_seconds: limit for one study in a reader or stage.
        cores: of this machine to use without `ray`, None for all.
        rescan: build the index again.
        retry_failed: grade studies again that failed before.
    """

    data: str
    out: Folder
    ray: str | None = None
    shard_studies: int = SHARD_STUDIES
    split: str = "test"
    weights: Path | None = None
    device: str = AUTO
    ids: Ids = AS_THEY_ARE
    study_seconds: float = STUDY_SECONDS
    cores: int | None = None
    rescan: bool = False
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if self.shard_studies < 1:
            msg = f"a shard must have at least one study, not {self.shard_studies}"
            raise ConfigError(msg)
        if self.device not in DEVICES:
            msg = f"device must be one of {', '.join(DEVICES)}, not {self.device!r}"
            raise ConfigError(msg)
        check_study_seconds(self.study_seconds)

    @property
    def index_options(self) -> IndexOptions:
        """What the index is made of."""
        return IndexOptions(self.data, self.split, self.ids)


@dataclass(eq=False)
class Outcome:
    """What a run did.

    Attributes:
        index: of the archive.
        results: where they are.
        before: studies of the index that were done when it began.
        graded: studies that it finished, failed ones included.
        failed: reason → studies of this run that have no grades.
    """

    index: Index
    results: ResultSet
    before: int
    graded: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def take(self, tally: Tally) -> None:
        """Add a shard."""
        self.graded += tally.studies
        self.failed += tally.failed
        done, total = self.before + self.graded, self.index.studies
        if done < total:  # else the status, which comes last, says so
            logger.info("%d of %d studies done, %d failed in this run", done, total, sum(self.failed.values()))


def index_archive(options: ArchiveOptions) -> Index:
    """Build the index of an archive alone.

    Raises:
        ConfigError: a path, option or the cluster does not work.
    """
    with connected(options.ray, cores=options.cores or usable_cpus()):
        return build_index(options.out / INDEX_FOLDER, options.index_options, rescan=options.rescan)


def grade_archive(options: ArchiveOptions) -> Outcome:
    """Grade every study of an archive that is not done yet.

    Raises:
        ConfigError: a path, option or the cluster does not work.
        KernelError: the weights do not work, results cannot be written, or another run has taken over.
    """
    results = ResultSet(options.out, read_manifest(options.weights).sha256)
    with connected(options.ray, cores=options.cores or usable_cpus()):
        index = build_index(options.out / INDEX_FOLDER, options.index_options, rescan=options.rescan)
        run = secrets.token_hex(8)
        about = {"run": run, "weights_sha256": results.weights_sha256, "result_set": results.name}
        options.out.write_json(RUN_FILE, about)
        results.remove_unfinished()
        if options.retry_failed:
            logger.info("%d studies that failed are graded again", results.forget_failed())
        done = results.done()
        outcome = Outcome(index, results, before=len(done & index.study_ids()))
        device = _device(options)
        work = Work(run, index.folder, index.root, results, options.weights, device, options.study_seconds)
        for tally in _graded(work, shards(index, done, studies=options.shard_studies)):
            outcome.take(tally)
    return outcome


def _device(options: ArchiveOptions) -> str:
    found = ray.cluster_resources().get("GPU", 0)
    if options.device == CUDA and not found:
        msg = "the cluster has no GPU; `--device cpu` grades without"
        raise ConfigError(msg)
    return CUDA if found and options.device != CPU else CPU


def _size_of_task(device: str) -> tuple[float, float]:
    """Cores and share of a GPU of a task; a task that fits on no node would wait forever."""
    if device != CUDA:
        return 1, 0.0
    cores = cores_beside_gpus(GPU_CORES)
    if not cores:
        msg = "no node with a GPU has a core for tasks; start it with cores, or grade with `--device cpu`"
        raise ConfigError(msg)
    return cores, GPU_SHARE


def _graded(work: Work, planned: Iterable[Shard]) -> Iterator[Tally]:
    """Grade shards; the studies of one that Ray gave up are tried one by one, and then recorded as lost."""
    cores, gpus = _size_of_task(work.device)
    # worker processes with a GPU end after each task by default, and would load the networks again for each shard
    remote = ray.remote(
        max_retries=MAX_RETRIES,
        retry_exceptions=[WorkerStartError, OSError],  # a device or a disk of one node; another may do
        num_cpus=cores,
        num_gpus=gpus,
        max_calls=0,
        scheduling_strategy="SPREAD",
    )(grade_shard)
    common = ray.put(work)
    while True:
        again: list[Shard] = []
        tasks = in_flight(lambda shard: remote.remote(common, shard), planned, cores=cores, gpus=gpus)
        for shard, reference in tasks:
            try:
                tally: Tally = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise _cause(error) from error
            except ray.exceptions.RayError as error:
                if len(shard.numbers) > 1:
                    logger.warning("a shard was lost %d times, its studies are tried one by one", MAX_RETRIES + 1)
                    again += shard.singles()
                    continue
                tally = record_lost(work, shard, type(error).__name__)
            yield tally
        if not again:
            return
        planned = again


def _cause(error: ray.exceptions.RayTaskError) -> KernelError:
    """The error of a task as one of the kernel, without the traceback of the node."""
    cause = error.cause
    if isinstance(cause, KernelError):
        return cause
    return KernelError(f"a task failed with {type(cause).__name__}: {cause}")


def write_submission(index: Index, results: ResultSet) -> str:
    """Write `submission.csv` of all studies of the index beside their grades; returns its path."""
    blocks = results.submission_blocks(index.study_ids())
    results.out.write_blocks(SUBMISSION, (block.encode() for block in blocks))
    return f"{results.out.text}/{SUBMISSION}"
