"""`archive status`: how far a run is, from its files alone; it needs no cluster and may run beside one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow.compute as pc

from lumbar_kernel.archive.index import finished_index
from lumbar_kernel.archive.result_schema import FAILED, INDEX_FOLDER, STUDIES_FOLDER
from lumbar_kernel.archive.results import ResultSet
from lumbar_kernel.archive.shard_task import RUN_FILE, reason_of
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.errors import ConfigError

HOUR = 3600.0
"""In seconds; the rate is that of the last hour in which studies were finished."""


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        studies: of the index.
        done: of these, with results, failed ones included.
        by_status: graded, partly, failed → studies.
        reasons: why studies failed → studies.
        studies_per_hour: finished lately, None while it is unknown.
        result_set: the partition that is counted.
    """

    studies: int
    done: int
    by_status: dict[str, int]
    reasons: dict[str, int]
    studies_per_hour: float | None
    result_set: str

    @property
    def hours_left(self) -> float | None:
        """Hours until all are done at this rate, None where there is none."""
        return None if not self.studies_per_hour else (self.studies - self.done) / self.studies_per_hour

    def as_text(self) -> str:
        """Lines for people."""
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.by_status.items()))
        lines = [f"{self.done} of {self.studies} studies done ({self.result_set})" + (f": {counts}" if counts else "")]
        lines += [f"failed: {count} {reason}" for reason, count in Counter(self.reasons).most_common()]
        if self.studies_per_hour and self.done < self.studies:
            lines.append(f"{self.studies_per_hour:.0f} studies an hour, {self.hours_left:.1f} hours left")
        return "\n".join(lines)


def archive_status(out: Folder) -> Status:
    """The status of the last run that wrote into a folder.

    Raises:
        ConfigError: there is no index or no run.
    """
    index, run = finished_index(out / INDEX_FOLDER), out.read_json(RUN_FILE)
    if index is None or run is None:
        what = "no finished index" if index is None else "no run"
        msg = f"{out.text} holds {what}; `lumbar-kernel archive DATA --out {out.text}` makes one"
        raise ConfigError(msg)
    # runs of older versions do not name their result set
    result_set = str(run.get("result_set") or ResultSet(out, str(run["weights_sha256"])).name)
    by_status: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    finished: Counter[int] = Counter()
    known = index.study_ids()  # results of studies that a rescan did not find any more stay, and do not count
    results = out / STUDIES_FOLDER / result_set
    for _, batch in results.tables(["study_id", "status", "failures", "missing", "finished"]):
        rows = known.rows_of(batch)
        by_status.update(rows.column("status").to_pylist())
        finished.update(int(at.timestamp()) for at in rows.column("finished").to_pylist())
        failed = rows.filter(pc.equal(rows.column("status"), FAILED)).to_pylist()
        reasons.update(reason_of(row) for row in failed)
    done = sum(by_status.values())
    return Status(index.studies, done, dict(by_status), dict(reasons), _rate(finished), result_set)


def _rate(finished: Counter[int]) -> float | None:
    """Studies an hour between the first and the last shard of the last hour; the first one's work came before."""
    if not finished:
        return None
    last = max(finished)
    recent = {at: count for at, count in finished.items() if at > last - HOUR}
    first = min(recent)
    return None if first == last else HOUR * (sum(recent.values()) - recent[first]) / (last - first)
