"""The studies of an index that are not done yet, in shards; a shard is a few numbers, its files stay in the index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lumbar_kernel.archive.ids import IdSet
from lumbar_kernel.archive.index import STUDIES, Index, study_names
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.archive.study_parts import studies_of
from lumbar_kernel.study import StudyFiles


@dataclass(frozen=True)
class Shard:
    """Studies of one file of the index.

    Attributes:
        part: name of the file.
        numbers: of the studies in it.
        study_ids: of these studies.
    """

    part: str
    numbers: tuple[int, ...]
    study_ids: tuple[str, ...]

    def singles(self) -> list[Shard]:
        """A shard for each of its studies."""
        return [Shard(self.part, (number,), (name,)) for number, name in zip(self.numbers, self.study_ids, strict=True)]


def shards(index: Index, done: IdSet, *, studies: int) -> Iterator[Shard]:
    """The shards of an index, `studies` each, without the studies that are done.

    The shards lie on a fixed grid over the index, so a run that is started again makes those that it had begun again.

    Args:
        index: of the archive.
        done: ids of the studies that are done.
        studies: in one shard; the last one of each file of the index has fewer.
    """
    folder = index.folder / STUDIES
    for part in folder.names():
        known = study_names(folder, part)
        for start in range(0, len(known), studies):
            left = [(number, name) for name, number in known[start : start + studies] if name not in done]
            if left:
                yield Shard(part, tuple(number for number, _ in left), tuple(name for _, name in left))


def read_shard(index: Folder, shard: Shard) -> tuple[StudyFiles, ...]:
    """The studies of a shard with their files, relative to the root of the archive."""
    rows = (index / STUDIES).rows_between(shard.part, shard.numbers[0], shard.numbers[-1])
    wanted = set(shard.numbers)
    return tuple(studies_of([row for row in rows if row["study_number"] in wanted]))
