"""What has been graded, on disk record by record, so that a run that was killed goes on where it was."""

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
    """An append-only file of finished work; what cannot be read or written costs the record, never the run.

    Each line is a checksum and a JSON record. A record torn by a kill ends the journal there; a journal of another run
    (other weights, other files, another version) is begun anew.

    Args:
        path: of the file.
        key: names the run, see `run_key`.
        resume: take over the records that are there, if they are of this run.
    """

    def __init__(self, path: Path, *, key: str, resume: bool) -> None:
        self._path = path
        self._studies: dict[str, tuple[StudyReport, FloatArray, tuple[str, ...]]] = {}
        self._grades: dict[tuple[str, str], FloatArray] = {}
        self._file: BinaryIO | None = None
        kept = self._take_over(key) if resume else 0
        try:
            self._file = path.open("r+b" if kept else "wb")
            self._file.truncate(kept)
            self._file.seek(kept)
        except OSError as error:
            self._give_up(error)
        if not kept:
            self._append({"key": key})

    def study(self, study_id: str) -> tuple[StudyReport, FloatArray, tuple[str, ...]] | None:
        """What `add_study` recorded of a study: report, confidence of its rows, views; None when there is nothing."""
        return self._studies.get(study_id)

    def grades(self, study_id: str, member: str) -> FloatArray | None:
        """The (25, 3) probabilities that a member gave a study, None when there is no record of them."""
        return self._grades.get((study_id, member))

    def add_study(self, report: StudyReport, confidence: FloatArray, views: Iterable[str]) -> None:
        """Record that a study was read, located and cropped."""
        entry = {"study": asdict(report), "confidence": confidence.tolist(), "views": list(views)}
        self._append(entry)

    def add_grades(self, study_id: str, member: str, probabilities: FloatArray) -> None:
        """Record what a member said of a study; NaN, where it could not say, becomes null."""
        rows = [None if np.isnan(row).any() else row.tolist() for row in probabilities]
        self._append({"graded": study_id, "member": member, "probabilities": rows})

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def remove(self) -> None:
        """Close and delete the file: a run that is complete needs it no longer."""
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take is lost either way
                self._file.close()
            self._file = None

    def _append(self, record: dict[str, Any]) -> None:
        """Write one line and hand it to the system at once, so that not even SIGKILL can take it back."""
        if self._file is None:
            return
        body = json.dumps(record, separators=(",", ":")).encode()
        try:
            self._file.write(b"%08x %s\n" % (zlib.crc32(body), body))
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning("the journal %s cannot be written (%s); a restart will begin anew", self._path, error)
        self._close()

    def _take_over(self, key: str) -> int:
        """Read the sound records of this run; returns how many bytes of the file they fill."""
        try:
            raw = self._path.read_bytes()
        except OSError:
            return 0
        kept = 0
        for line in raw.splitlines(keepends=True):
            record = _sound(line)
            if record is None or (kept == 0 and record.get("key") != key):
                break
            self._learn(record)
            kept += len(line)
        logger.info("the journal holds %d studies that were begun", len(self._studies))
        return kept

    def _learn(self, record: dict[str, Any]) -> None:
        if "study" in record:
            report = study_report_from(record["study"])
            self._studies[report.study_id] = (report, np.array(record["confidence"]), tuple(record["views"]))
        elif "graded" in record:
            rows = [[np.nan] * 3 if row is None else row for row in record["probabilities"]]
            self._grades[record["graded"], record["member"]] = np.array(rows)


def _sound(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None when the line was torn or changed."""
    checksum, _, body = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record


def run_key(studies: Sequence[StudyFiles], *, weights_sha256: str) -> str:
    """A name for the run: version, weights and the paths of all files; contents that change are not noticed."""
    listing = [__version__, weights_sha256, *(f"{item.study_id} {item!r}" for item in studies)]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()
