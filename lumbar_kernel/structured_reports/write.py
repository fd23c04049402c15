"""A finished run and its data → DICOM objects beside the run's other files, never among the originals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.structured_reports.document import key_images, structured_report
from lumbar_kernel.structured_reports.findings import StudyFindings, read_findings
from lumbar_kernel.structured_reports.sources import read_sources
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

FOLDER = "structured_reports"
REPORT_NAME, KEY_IMAGES_NAME = "report.dcm", "key_images.dcm"
NAMED_PROBLEMS = 3


def write_structured_reports(run: Path, data: Path, *, split: str = "test") -> tuple[list[Path], list[str]]:
    """Write a Structured Report and a key image selection for each graded study into `run/structured_reports/<study>/`.

    Args:
        run: folder of a finished run.
        data: what it graded.
        split: half of the competition's folder that it graded.

    Returns:
        The files, and a sentence for each study that has none and why.

    Raises:
        ConfigError: the run or the data cannot be read, or the files would lie among the originals.
        OSError: a file cannot be written.
    """
    studies = read_findings(run)
    if (run / FOLDER).resolve().is_relative_to(data.resolve()):
        msg = f"{str(run)!r} lies in {str(data)!r}: reports are never written among the originals"
        raise ConfigError(msg)
    files = {item.study_id: item for item in find_studies(data, split=split)}
    written: list[Path] = []
    left_out: list[str] = []
    for study in studies:
        paths, reason = _write_study(study, files.get(study.study_id), run / FOLDER / study.study_id)
        written += paths
        if reason:
            left_out.append(f"study {study.study_id}: {reason}")
    return written, left_out


def _write_study(study: StudyFindings, files: StudyFiles | None, folder: Path) -> tuple[Sequence[Path], str]:
    """The files of one study, or why it has none."""
    if not study.findings:
        return (), "no member graded it"
    if files is None:
        return (), "not in the data"
    images, problems = read_sources(files, study.roles)
    for problem in problems[:NAMED_PROBLEMS]:
        logger.warning("study %s: %s", study.study_id, problem)
    if not images:
        return (), "none of the series used can be referred to"
    folder.mkdir(parents=True, exist_ok=True)
    documents = {REPORT_NAME: structured_report(study, images), KEY_IMAGES_NAME: key_images(study, images)}
    paths = []
    for name, document in documents.items():
        if document is not None:
            document.save_as(folder / name, enforce_file_format=True)
            paths.append(folder / name)
    return paths, ""
