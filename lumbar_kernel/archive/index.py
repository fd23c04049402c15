"""`archive index`: the whole archive as Parquet, built in two passes of tasks and resumed where it was interrupted.

The first pass reads the identity of every file, a chunk of folders a task. The second takes the files of one range of
keys, which hold whole studies, groups them as a run of one machine does, and looks at the headers of each study. Both
leave one file a task, so an interrupted index goes on with what is missing.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from lumbar_kernel.archive import header_chunks
from lumbar_kernel.archive.cluster import MAX_RETRIES, in_flight
from lumbar_kernel.archive.header_chunks import SEVERAL, chunk_name, chunks, read_chunk
from lumbar_kernel.archive.ids import AS_THEY_ARE, Ids, IdSet, hash64
from lumbar_kernel.archive.index_schema import ROWS_A_GROUP, VERSION
from lumbar_kernel.archive.sources import Listing, Source, open_source
from lumbar_kernel.archive.storage import Folder, is_url
from lumbar_kernel.archive.study_parts import renamed, study_part
from lumbar_kernel.dicom.tables import Roles
from lumbar_kernel.errors import ConfigError

logger = logging.getLogger(__name__)

ABOUT, BEGUN, PLAN, SECRET, REPEATED = "index.json", "begun.json", "plan.json", "secret", "repeated.json"
HEADERS, OWNERS, STUDIES = "headers", "owners", "studies"

ATTEMPT = (BEGUN, SECRET, PLAN, HEADERS, OWNERS, REPEATED)
"""What only an attempt needs; what says that it can go on is first."""

FINISHED = (ABOUT, STUDIES)
"""What a finished index is; what says that it can be used is first."""

RESCAN = "rescan"
"""Entry of an index that was begun: whether `--rescan` began it."""

FILES_A_PART = 20_000
"""Files whose studies are put together at once; bounds the memory of a task."""

KEYS = 1 << 32

SKIPPED = b"skipped"
"""Metadata of a part: phrase → number of things that belong to no study."""


@dataclass(frozen=True)
class IndexOptions:
    """What the index is made of.

    Attributes:
        data: path or URL of the archive.
        split: of the competition's data, one of `SPLITS`.
        ids: how ids are published.
    """

    data: str
    split: str = "test"
    ids: Ids = AS_THEY_ARE

    def about(self) -> dict[str, object]:
        """What has to be the same for an index to be used again."""
        data = self.data if is_url(self.data) else Folder.of(self.data).text
        return {"data": data, "split": self.split, "ids": self.ids.fingerprint, "version": VERSION}


@dataclass(frozen=True)
class Index:
    """A finished index.

    Attributes:
        folder: with the Parquet files.
        root: folder that the paths in them are relative to.
        studies: how many there are.
        files: how many were looked at.
        bytes: of these files.
        skipped: phrase → number of things that belong to no study.
    """

    folder: Folder
    root: Folder
    studies: int
    files: int
    bytes: int
    skipped: dict[str, int]

    def study_ids(self) -> IdSet:
        """The ids of its studies."""
        studies = self.folder / STUDIES
        return IdSet.of([name for name, _ in study_names(studies, part)] for part in studies.names())


def finished_index(folder: Folder, options: IndexOptions | None = None) -> Index | None:
    """The index in a folder, None where there is none or where it is not finished.

    Raises:
        ConfigError: it is an index of other data, or with other ids.
    """
    about = folder.read_json(ABOUT)
    if about is None:
        return None
    if options is not None and (differing := [key for key, value in options.about().items() if about[key] != value]):
        msg = f"{folder.text} is an index of other {', '.join(differing)}; name another output folder, or --rescan"
        raise ConfigError(msg)
    return _index(folder, about)


def _index(folder: Folder, about: dict[str, Any]) -> Index:
    root = Folder(about["root"])
    return Index(folder, root, about["studies"], about["files"], about["bytes"], about["skipped"])


def build_index(folder: Folder, options: IndexOptions, *, rescan: bool = False) -> Index:
    """Build the index of an archive, or take the one that is there; Ray is connected.

    A rescan leaves the index of before until it has found files for another one.

    Raises:
        ConfigError: the archive cannot be listed, or the folder holds the index of another one.
    """
    if not rescan and (found := finished_index(folder, options)) is not None:
        return found
    source = open_source(options.data, split=options.split)
    if not _goes_on(folder, options, rescan=rescan):
        _remove(folder, ATTEMPT if folder.has(ABOUT) else (*ATTEMPT, *FINISHED))
        folder.write_json(BEGUN, {**options.about(), RESCAN: rescan})
    plan = folder.read_json(PLAN) or _first_pass(folder, source)
    _second_pass(folder, source, int(plan["ranges"]), options.ids)
    skipped = Counter(plan["skipped"]) + _skipped(folder / STUDIES)
    _drop_named(folder / STUDIES)
    studies = _rename_repeated(folder)
    if studies == 0:
        raise _no_study(folder, source)
    about = {
        **options.about(),
        "studies": studies,
        "files": plan["files"],
        "bytes": plan["bytes"],
        "root": source.root.text,
        "skipped": dict(+skipped),
    }
    folder.write_json(ABOUT, about)
    _remove(folder, ATTEMPT)
    return _index(folder, about)


def _goes_on(folder: Folder, options: IndexOptions, *, rescan: bool) -> bool:
    """Whether the folder holds an unfinished index of the same archive, for a rescan one that a rescan has begun.

    Beside a plan no index of before is left, so that one that is finished is the attempt's own.
    """
    begun = folder.read_json(BEGUN)
    if begun is None or (folder.has(ABOUT) and folder.has(PLAN)):
        return False
    same = all(begun[key] == value for key, value in options.about().items())
    return same and (not rescan or begun[RESCAN] is True)


def _remove(folder: Folder, names: Iterable[str]) -> None:
    for name in names:
        folder.remove(name)


def _no_study(folder: Folder, source: Source) -> ConfigError:
    """The error of an attempt without studies; the next one must not go on with it, since there may be some then."""
    _remove(folder, ATTEMPT)
    return ConfigError(f"no study found in {source.data!r}")


def _first_pass(folder: Folder, source: Source) -> dict[str, Any]:
    """Read the identities of all files that no earlier attempt has read, and say how the second pass divides them.

    An index that a rescan replaces is removed when that is done.

    Raises:
        ConfigError: there is nothing to make an index of.
    """
    if not folder.has(SECRET):
        folder.write_bytes(SECRET, secrets.token_bytes(32))
    secret, known, wanted = folder.read_bytes(SECRET), set((folder / HEADERS).names()), set()
    read = ray.remote(max_retries=MAX_RETRIES, num_cpus=1)(_read_chunk)

    def missing() -> Iterator[tuple[Listing, ...]]:
        for listings in chunks(source.listings()):
            name = chunk_name(listings)
            wanted.add(name)
            if name not in known:
                yield listings

    tasks = in_flight(lambda item: read.remote(folder, source.root, item, secret), missing())
    for count, (_, reference) in enumerate(tasks, start=1):
        ray.get(reference)
        logger.info("chunks of headers read: %d", count)
    for name in known - wanted:  # of an attempt that saw other files
        (folder / HEADERS).remove(name)
        (folder / OWNERS).remove(name)
    rows, files, size = _count(folder / HEADERS)
    if not rows:
        raise _no_study(folder, source)
    ranges = max(1, min(-(-files // FILES_A_PART), 1 << 16))
    plan = {"files": files, "bytes": size, "ranges": ranges, "skipped": dict(+source.skipped)}
    _write_shared(folder)
    _remove(folder, FINISHED)
    folder.write_json(PLAN, plan)
    return plan


def _read_chunk(folder: Folder, root: Folder, listings: tuple[Listing, ...], secret: bytes) -> None:
    """Task of the first pass."""
    logging.disable(logging.CRITICAL)
    rows, owners = read_chunk(root, listings, secret)
    name = chunk_name(listings)
    (folder / OWNERS).write_table(name, owners)
    (folder / HEADERS).write_table(name, rows, row_group=ROWS_A_GROUP)


def _count(headers: Folder) -> tuple[int, int, int]:
    """Number of rows, and number and bytes of the files in them."""
    rows = files = size = 0
    for _, batch in headers.tables(["sizes"]):
        rows += batch.num_rows
        sizes = pc.list_flatten(batch.column("sizes"))
        files += len(sizes)
        size += pc.sum(sizes).as_py() or 0
    return rows, files, size


def _write_shared(folder: Folder) -> None:
    """Write the hashes of the folders that hold several studies, from the owners of all chunks."""
    places, owners = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for _, batch in (folder / OWNERS).tables(["folder", "owner"]):
        places.append(batch.column("folder").to_numpy())
        owners.append(batch.column("owner").to_numpy())
    place, owner = np.concatenate(places), np.concatenate(owners)
    order = np.lexsort((owner, place))
    place, owner = place[order], owner[order]
    same = place[1:] == place[:-1]
    several = np.concatenate([place[owner == SEVERAL], place[1:][same & (owner[1:] != owner[:-1])]])
    table = pa.table({"folder": np.unique(several)}, schema=header_chunks.OWNERS.remove(1))
    (folder / OWNERS).write_table("shared", table)


def _second_pass(folder: Folder, source: Source, ranges: int, ids: Ids) -> None:
    """Make the studies of all ranges that no earlier attempt has made."""
    studies = folder / STUDIES
    known = set(studies.names())
    make = ray.remote(max_retries=MAX_RETRIES, num_cpus=1)(_make_part)
    missing = (number for number in range(ranges) if _part_name(number) not in known)
    root, roles = source.root, ray.put(source.roles)
    for number, reference in in_flight(lambda k: make.remote(folder, root, k, ranges, ids, roles), missing):
        ray.get(reference)
        logger.info("part %d of %d of the index is written", number + 1, ranges)


def _part_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _make_part(folder: Folder, root: Folder, number: int, ranges: int, ids: Ids, roles: Roles) -> None:
    """Task of the second pass."""
    logging.disable(logging.CRITICAL)
    first, last = number * KEYS // ranges, (number + 1) * KEYS // ranges - 1
    headers = folder / HEADERS
    rows = [row for name in headers.names() for row in headers.rows_between(name, first, last)]
    shared = IdSet((folder / OWNERS).read_table("shared").column("folder").to_numpy())
    part = study_part(root, rows, ids=ids, shared=shared, roles=roles)
    table = part.table.replace_schema_metadata({SKIPPED: json.dumps(part.skipped)})
    (folder / STUDIES).write_table(_part_name(number), table, row_group=ROWS_A_GROUP)


def _skipped(studies: Folder) -> Counter[str]:
    """What belongs to no study, of all parts."""
    skipped: Counter[str] = Counter()
    for name in studies.names():
        with studies.parquet(name) as file:
            skipped += Counter(json.loads(file.schema_arrow.metadata[SKIPPED]))
    return skipped


def _drop_named(studies: Folder) -> None:
    """Remove the studies without files, which tables name, whose files the headers have made a study of the same id."""
    columns = ("study_id", "files")
    found = IdSet.of(
        pc.unique(batch.filter(pc.greater(batch["files"], 0))["study_id"]).to_pylist()
        for _, batch in studies.tables(columns)
    )
    named: dict[str, list[str]] = {}
    for name, batch in studies.tables(columns):
        if again := found.rows_of(batch.filter(pc.equal(batch["files"], 0)))["study_id"].to_pylist():
            named.setdefault(name, []).extend(again)
    for name, again in named.items():
        table = studies.read_table(name)
        elsewhere = pc.is_in(table["study_id"], pa.array(again, pa.string()))
        kept = pc.or_(pc.greater(table["files"], 0), pc.invert(elsewhere))
        studies.write_table(name, table.filter(kept), row_group=ROWS_A_GROUP)


def _rename_repeated(folder: Folder) -> int:
    """Give studies of different parts that came to the same id their UIDs as ids; returns the number of studies.

    The ids are noted before any is replaced, since an attempt that is interrupted leaves some of them only once.
    """
    studies = folder / STUDIES
    hashes = [np.empty(0, np.uint64)]
    for name in studies.names():
        hashes.append(np.array([hash64(study_id) for study_id, _ in study_names(studies, name)], np.uint64))
    values, counts = np.unique(np.concatenate(hashes), return_counts=True)
    if (noted := folder.read_json(REPEATED)) is None:
        noted = {"hashes": values[counts > 1].tolist()}
        folder.write_json(REPEATED, noted)
    repeated = set(noted["hashes"])
    for name in studies.names() if repeated else ():
        if any(hash64(study_id) in repeated for study_id, _ in study_names(studies, name)):
            table = renamed(studies.read_table(name), repeated.__contains__)
            studies.write_table(name, table, row_group=ROWS_A_GROUP)
    return int(counts.sum())


def study_names(studies: Folder, part: str) -> list[tuple[str, int]]:
    """Id and number of each study in a file of the index, in its order."""
    table = studies.read_table(part, columns=["study_id", "study_number"])
    return list(dict.fromkeys(zip(table["study_id"].to_pylist(), table["study_number"].to_pylist(), strict=True)))
