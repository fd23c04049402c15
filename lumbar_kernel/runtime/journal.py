"""Finished work on disk, record by record, so that a killed run can be resumed."""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lumbar_kernel import __version__
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results.report import StudyReport, study_report_from
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)


class Journal:
    """An append-only file of finished work; a journal that cannot be read or written never stops the run.

    Each line is a checksum and a JSON record. The first damaged record ends the journal; a journal of another run
    (other weights, other files, another version) is started over.

    Args:
        path: of the file.
        key: identifies the run, see `run_key`.
        resume: keep the existing records if they belong to this run.
    """

    def __init__(self, path: Path, *, key: str, resume: bool) -> None:
        self._path = path
        self._studies: dict[str, tuple[StudyReport, FloatArray, tuple[str, ...]]] = {}
        self._grades: dict[tuple[str, str], FloatArray] = {}
        self._file: BinaryIO | None = None
        kept = self._load_records(key) if resume else 0
        try:
            self._file = path.open("r+b" if kept else "wb")
            self._file.truncate(kept)
            self._file.seek(kept)
        except OSError as error:
            self._stop_writing(error)
        if not kept:
            self._append({"key": key})

    def study(self, study_id: str) -> tuple[StudyReport, FloatArray, tuple[str, ...]] | None:
        """What `add_study` recorded of a study: report, weights of its rows, views; None without a record."""
        return self._studies.get(study_id)

    def grades(self, study_id: str, member: str) -> FloatArray | None:
        """The (25, 3) probabilities that a member gave a study, None without a record."""
        return self._grades.get((study_id, member))

    def add_study(self, report: StudyReport, row_weights: FloatArray, views: Iterable[str]) -> None:
        """Record that a study was read, localised and cropped."""
        entry = {"study": asdict(report), "row_weights": row_weights.tolist(), "views": list(views)}
        self._append(entry)

    def add_grades(self, study_id: str, member: str, probabilities: FloatArray) -> None:
        """Record what a member predicted for a study; rows that it could not grade (NaN) become null."""
        rows = [None if np.isnan(row).any() else row.tolist() for row in probabilities]
        self._append({"graded": study_id, "member": member, "probabilities": rows})

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # data that a full disk did not accept is lost in any case
                self._file.close()
            self._file = None

    def _append(self, record: dict[str, Any]) -> None:
        """Write one line and flush it to the system at once, so that it survives SIGKILL."""
        if self._file is None:
            return
        body = json.dumps(record, separators=(",", ":")).encode()
        try:
            self._file.write(b"%08x %s\n" % (zlib.crc32(body), body))
            self._file.flush()
        except OSError as error:
            self._stop_writing(error)

    def _stop_writing(self, error: OSError) -> None:
        logger.warning("the journal %s cannot be written (%s); a restart will start over", self._path, error)
        self._close()

    def _load_records(self, key: str) -> int:
        """Load the intact records of this run; returns how many bytes of the file they fill."""
        try:
            raw = self._path.read_bytes()
        except OSError:
            return 0
        kept = 0
        for line in raw.splitlines(keepends=True):
            record = _parse(line)
            if record is None or (kept == 0 and record.get("key") != key):
                break
            self._add_record(record)
            kept += len(line)
        logger.info("the journal holds %d studies that had been started", len(self._studies))
        return kept

    def _add_record(self, record: dict[str, Any]) -> None:
        if "study" in record:
            report = study_report_from(record["study"])
            self._studies[report.study_id] = (report, np.array(record["row_weights"]), tuple(record["views"]))
        elif "graded" in record:
            rows = [[np.nan] * 3 if row is None else row for row in record["probabilities"]]
            self._grades[record["graded"], record["member"]] = np.array(rows)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None when the line is incomplete or damaged."""
    checksum, _, body = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record


def run_key(studies: Sequence[StudyFiles], *, weights_sha256: str) -> str:
    """A hash of version, weights and the paths of all files; changed file contents go unnoticed."""
    listing = [__version__, weights_sha256, *(f"{item.study_id} {item!r}" for item in studies)]
    return hashlib.sha256("\n".join(listing).encode("utf-8", "surrogatepass")).hexdigest()  # names may be no text
