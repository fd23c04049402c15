"""A finished run and its data → DICOM objects beside the run's other files, never among the originals."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.unpacking import unpacked
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.output_names import STRUCTURED_REPORTS
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.structured_reports.document import key_images, structured_report
from lumbar_kernel.structured_reports.findings import StudyFindings, read_findings
from lumbar_kernel.structured_reports.sources import read_sources
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

REPORT_NAME, KEY_IMAGES_NAME = "report.dcm", "key_images.dcm"
NAMED_PROBLEMS = 3

UNUSABLE = (ValueError, TypeError, AttributeError)
"""What pydicom and highdicom raise for values that no report can hold."""


def write_structured_reports(run: Path, data: Path, *, split: str = "test") -> tuple[list[Path], list[str]]:
    """Write a Structured Report and a key image selection for each graded study into `run/structured_reports/<study>/`.

    Args:
        run: folder of a finished run.
        data: what it graded: a folder, zip, tar or DICOMDIR.
        split: of the competition's data that it graded.

    Returns:
        The files, and a sentence for each study that has none and why.

    Raises:
        ConfigError: the run or the data cannot be read, or the files would lie among the originals.
        OSError: a file cannot be written.
    """
    studies, folder = read_findings(run), run / STRUCTURED_REPORTS
    if folder.resolve().is_relative_to(data.resolve()):
        msg = f"{str(run)!r} lies in {str(data)!r}: reports are never written among the originals"
        raise ConfigError(msg)
    with unpacked(data) as (readable, _):
        files = {item.study_id: item for item in find_studies(readable, split=split)}
        if not files.keys() & {study.study_id for study in studies}:
            what = f"{str(data)!r} holds no study of the run in {str(run)!r}"
            msg = f"{what}: another folder or split (--split) was graded"
            raise ConfigError(msg)
        return _write_studies(studies, files, folder)


def _write_studies(
    studies: Sequence[StudyFindings], files: Mapping[str, StudyFiles], folder: Path
) -> tuple[list[Path], list[str]]:
    written: list[Path] = []
    left_out: list[str] = []
    for study in studies:
        paths, reason = _write_study(study, files.get(study.study_id), folder / study.study_id)
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
    try:
        documents = _encoded(
            {REPORT_NAME: structured_report(study, images), KEY_IMAGES_NAME: key_images(study, images)}
        )
    except UNUSABLE as error:
        detail = " ".join(str(error).split())[:200]  # pydicom puts whole tracebacks into its messages
        return (), f"its headers make no valid report ({type(error).__name__}: {detail})"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in documents.items():
        write_atomic(content, folder / name)
    return [folder / name for name in documents], ""


def _encoded(documents: Mapping[str, Any]) -> dict[str, bytes]:
    """Documents as the bytes of their files, without those that there are not."""
    files: dict[str, bytes] = {}
    for name, document in documents.items():
        if document is not None:
            file = io.BytesIO()
            document.save_as(file, enforce_file_format=True)
            files[name] = file.getvalue()
    return files
