"""What became of a shard → rows of grades and studies, and the Parquet files of a result set.

The file of a shard is named after its studies and appears completely or not at all, so a shard that is graded twice
replaces itself. The file of its studies is written last: a study is done when it is in there.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lumbar_kernel import __version__
from lumbar_kernel.archive.ids import IdSet
from lumbar_kernel.archive.reasons import failure_type, plain_reason, plain_reasons
from lumbar_kernel.archive.result_schema import FAILED, GRADED, GRADES, GRADES_FOLDER, PARTLY, STUDIES, STUDIES_FOLDER
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.results.report import Failure, StudyReport
from lumbar_kernel.results.submission import submission_rows
from lumbar_kernel.results.tables import grade_records, landmark_rows, points_of
from lumbar_kernel.runtime.messages import Update
from lumbar_kernel.runtime.persistent_worker import ShardOutcome
from lumbar_kernel.schema import ROW_ID, ROWS, SEVERITIES, SUBMISSION_COLUMNS, prior

Row = dict[str, Any]

NOT_GRADED = Failure("grade", "NotGraded", "no worker gave grades")


@dataclass(frozen=True)
class ResultSet:
    """The results of one version with one set of weights.

    Attributes:
        out: folder of all results.
        weights_sha256: of the manifest.
    """

    out: Folder
    weights_sha256: str

    @property
    def name(self) -> str:
        """Of its folders, a partition of the tables."""
        return f"result_set={__version__}-{self.weights_sha256[:12]}"

    @property
    def grades(self) -> Folder:
        """Folder of the grades."""
        return self.out / GRADES_FOLDER / self.name

    @property
    def studies(self) -> Folder:
        """Folder of the studies."""
        return self.out / STUDIES_FOLDER / self.name

    def shard_name(self, study_ids: Sequence[str]) -> str:
        """The name of the files of a shard, which follows from its studies."""
        text = "\n".join([self.name, *study_ids])
        return f"part-{hashlib.sha256(text.encode()).hexdigest()[:20]}.parquet"

    def write(self, study_ids: Sequence[str], outcome: ShardOutcome) -> list[Row]:
        """Write the results of a shard; returns the rows of its studies."""
        name = self.shard_name(study_ids)
        studies = [_study_row(study_id, outcome, self.weights_sha256, name) for study_id in study_ids]
        grades = [row for study_id in study_ids for row in _grade_rows(study_id, outcome)]
        self.grades.write_table(name, pa.Table.from_pylist(grades, schema=GRADES))
        self.studies.write_table(name, pa.Table.from_pylist(studies, schema=STUDIES))
        return studies

    def remove_unfinished(self) -> None:
        """Remove grades whose studies were not written any more, and what interrupted writing left."""
        whole = set(self.studies.names())
        for name in set(self.grades.names()) - whole:
            self.grades.remove(name)
        for folder in (self.grades, self.studies):
            if folder.local is not None:
                for path in folder.local.glob(".*.part"):
                    path.unlink(missing_ok=True)

    def forget_failed(self) -> int:
        """Remove the results of studies without any grade, so that they are graded again; returns how many there were.

        What an interruption leaves is a study that has still failed, or grades that `remove_unfinished` finds.
        """
        failed: dict[str, list[str]] = {}
        for name, batch in self.studies.tables(["study_id", "status"]):
            failed.setdefault(name, []).extend(batch.filter(pc.equal(batch["status"], FAILED))["study_id"].to_pylist())
        for name, study_ids in failed.items():
            if study_ids:
                self._forget(name, pa.array(study_ids))
        return sum(map(len, failed.values()))

    def _forget(self, name: str, study_ids: pa.Array) -> None:
        tables = (folder.read_table(name) for folder in (self.studies, self.grades))
        studies, grades = (table.filter(pc.invert(pc.is_in(table["study_id"], study_ids))) for table in tables)
        if not studies.num_rows:
            self.studies.remove(name)
            self.grades.remove(name)
            return
        self.grades.write_table(name, grades)
        self.studies.write_table(name, studies)

    def done(self) -> IdSet:
        """The ids of the studies that are done."""
        return IdSet.of(batch.column("study_id").to_pylist() for _, batch in self.studies.tables(["study_id"]))

    def submission_blocks(self, among: IdSet) -> Iterator[str]:
        """A `submission.csv` of all grades of some studies, block by block, written as `predict` writes it."""
        yield f"{','.join(SUBMISSION_COLUMNS)}\n"
        for _, batch in self.grades.tables(["study_id", *SUBMISSION_COLUMNS]):
            rows = among.rows_of(batch)
            values = np.stack([rows.column(name).to_numpy() for name in SEVERITIES], axis=1)
            yield submission_rows(rows.column(ROW_ID).to_pylist(), values)


def _study_row(study_id: str, outcome: ShardOutcome, weights_sha256: str, shard: str) -> Row:
    update = outcome.updates.get(study_id)
    report = StudyReport(study_id) if update is None else update.report
    failures = list(report.failures)
    if (lost := outcome.lost.get(study_id)) is not None and lost not in failures:
        failures.append(lost)
    if update is None and not failures:
        failures += outcome.failures[:1] or [NOT_GRADED]
    return {
        "study_id": study_id,
        "status": GRADED if report.graded_rows == len(ROWS) else PARTLY if report.graded_rows else FAILED,
        "graded_rows": report.graded_rows,
        "confidence": report.confidence,
        "series": [_used_series(item.series_id, item.role, item.slices) for item in report.series],
        "landmarks": landmark_rows(report),
        "missing": plain_reasons(report.missing),
        "failures": [_failure(item) for item in failures],
        "seconds": outcome.seconds.get(study_id, 0.0),
        "finished": datetime.datetime.fromtimestamp(outcome.finished, datetime.timezone.utc),
        "version": __version__,
        "weights_sha256": weights_sha256,
        "device": outcome.ready.device if outcome.ready else "",
        "shard": shard.removesuffix(".parquet"),
    }


def _used_series(series_id: str, role: str, slices: int) -> Row:
    """A series; contrasts within one have words of its description after the id, which are left out."""
    return {"series_id": series_id.partition(" ")[0], "role": role, "slices": slices}


def _failure(failure: Failure) -> Row:
    reason = plain_reason(f"{failure.type}: {failure.message}")
    return {"stage": failure.stage, "type": failure_type(failure.type), "reason": reason}


def _grade_rows(study_id: str, outcome: ShardOutcome) -> Iterator[Row]:
    update = outcome.updates.get(study_id, Update(prior(), ((),) * len(ROWS), StudyReport(study_id)))
    records = grade_records(update.grades, update.row_members, points_of(update.report))
    for probabilities, record in zip(update.grades, records, strict=True):
        yield {
            "study_id": study_id,
            "row_id": f"{study_id}_{record.target.row}",
            **record.columns(map(float, probabilities)),
            "members": list(record.members),
            "confidence": record.confidence,
        }
