"""Grades under archive variants: `python -m benchmarks.robustness.variants [--real DIR] [--only NAME] [--json FILE]`.

A study is written as hospitals' scanners and archives write it, in dozens of ways, and graded each time. A variant that
keeps what is needed must not change a probability by more than `MAX_CHANGE`; one that loses something must be named in
the report or the log; two patients must stay two studies. The table has the largest change of each; exit code 1 when
one fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.robustness.exam_changes import Change, all_images, stripped, together
from benchmarks.robustness.file_variants import ENCODED, LOSSY, MIXED_UIDS, Rewrite
from benchmarks.robustness.hospital import FOLDERS, VENDORS, exam_of, write_exam
from benchmarks.robustness.series_variants import ADDED, CHANGED
from benchmarks.robustness.slice_changes import RENUMBERED
from benchmarks.tables import table_head, table_row
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.unpacking import unpacked
from lumbar_kernel.errors import KernelError
from lumbar_kernel.kernel import Grades, Kernel
from lumbar_kernel.phantom import make_phantom
from lumbar_kernel.schema import prior
from lumbar_kernel.study import Study, StudyFiles

MAX_CHANGE = 0.10
"""Largest change of a probability under a variant that keeps what is needed."""

SEED = 85
"""Of the phantom: severe, moderate and mild grades, five tilted axial blocks, small matrices."""

SAME, REPORTED, EITHER = "same", "reported", "either"
"""What a variant must be: graded the same, named in report or log, or one of both."""


@dataclass(frozen=True)
class Variant:
    """A way to write a study.

    Attributes:
        name: for the table.
        kind: what it is about.
        expected: `SAME`, `REPORTED` or `EITHER`.
        change: of its series, None for none.
        rewrite: of its files, None for none.
        vendor: key of `VENDORS`.
        people: patients who share the StudyInstanceUID.
        declared: whether it is compared with itself, the roles of its series declared, since grades must change.
    """

    name: str
    kind: str
    expected: str = SAME
    change: Change | None = None
    rewrite: Rewrite | None = None
    vendor: str = "siemens"
    people: int = 1
    declared: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a variant: largest change of a probability, studies found, and the messages about it."""

    name: str
    kind: str
    expected: str
    change: float
    studies: int
    right: bool
    reported: tuple[str, ...]


def variants() -> Iterator[Variant]:
    """All variants."""
    for vendor in VENDORS:
        yield Variant(f"names as {vendor}", "names", vendor=vendor)
    for name, change in RENUMBERED.items():
        yield Variant(name, "files", change=change)
    for name, rewrite in ENCODED.items():
        yield Variant(name, "files", rewrite=rewrite)
    for name, (uids, layout) in MIXED_UIDS.items():
        yield Variant(name, "UIDs", change=uids, rewrite=layout)
    for name, (kind, change) in ADDED.items():
        yield Variant(name, kind, change=change)
    for name, (kind, expected, change) in CHANGED.items():
        # the networks see a patient who lies otherwise from another side; what is read must be the same
        yield Variant(name, kind, expected, change=change, declared=kind == "tilt")
    for name, rewrite in LOSSY.items():
        yield Variant(name, "lost", REPORTED, rewrite=rewrite)
    yield Variant(
        "stripped, RescaleIntercept -200", "stripped", change=stripped, rewrite=ENCODED["RescaleIntercept -200"]
    )
    yield Variant(
        "T1 FS +C, STIR and localiser at once",
        "two series",
        change=together(*(ADDED[name][1] for name in ("T1 FS +C", "STIR beside T2", "Lokalisator"))),
    )
    yield Variant("two patients with one study UID", "people", people=2)
    yield Variant(
        "two patients with one study UID, flat", "people", rewrite=ENCODED["flat folder without suffixes"], people=2
    )


def write_variant(study: Study, variant: Variant, folder: Path) -> Path:
    """Write a study in a variant; returns what to give to the kernel, in the folder or beside it."""
    for person in range(1, variant.people + 1):
        exam = exam_of(study, VENDORS[variant.vendor], number=person)
        if variant.people > 1:
            exam = all_images(exam, lambda image: image.with_tags(StudyInstanceUID="1.2.826.1"))
        exam = variant.change(exam) if variant.change else exam
        write_exam(exam, folder / f"p{person}" if variant.people > 1 else folder)
    return variant.rewrite(folder) if variant.rewrite else folder


class VariantGrader:
    """One study with its grades, and a kernel to grade variants of it.

    Args:
        study: to write in variants.
        kernel: that grades.
        work: empty folder.
    """

    def __init__(self, study: Study, kernel: Kernel, work: Path) -> None:
        self._study, self._kernel, self._work = study, kernel, work
        self._count = 0
        write_exam(exam_of(study, VENDORS["siemens"]), work / "plain")
        (own, *_), self.plain_messages = self._graded(work / "plain")
        if own is None:
            msg = f"{study.study_id} cannot be graded as it is"
            raise ValueError(msg)
        self.baseline = own.probabilities

    def run(self, variant: Variant) -> Result:
        """Write and grade one variant."""
        self._count += 1
        data = write_variant(self._study, variant, self._work / f"v{self._count}")
        grades, messages = self._graded(data)
        found = [item.probabilities if isinstance(item, Grades) else prior() for item in grades] or [prior()]
        baseline = self._declared(data) if variant.declared else self.baseline
        change = max(float(np.abs(probabilities - baseline).max()) for probabilities in found)
        messages = tuple(text for text in messages if text not in self.plain_messages)
        return Result(
            variant.name,
            variant.kind,
            variant.expected,
            change,
            len(grades),
            _is_right(variant, change, len(grades), messages),
            messages,
        )

    def _declared(self, data: Path) -> FloatArray:
        """The grades of a study whose series get the roles that their folders name, the prior where it has none."""
        ((grades,), _) = self._graded(data, declared=True)
        return prior() if grades is None else grades.probabilities

    def _graded(self, data: Path, *, declared: bool = False) -> tuple[list[Grades | None], tuple[str, ...]]:
        """The grades of every study in a folder, None for one that cannot be graded, and the messages."""
        with _Listening() as messages, unpacked(data) as (opened, left_out):
            found = find_studies(opened)
            studies = [read_study(_with_roles(files) if declared else files) for files in found]
        messages += [left_out] if left_out else []
        grades: list[Grades | None] = []
        for study in studies:
            messages += [f"{item.series_id}: {item.reason}" for item in study.decisions if item.role is None]
            try:
                graded = self._kernel.grade(study)
            except KernelError as error:
                grades.append(None)
                messages.append(str(error))
                continue
            grades.append(graded)
            messages += graded.report.missing
        return grades, tuple(messages)


def _with_roles(files: StudyFiles) -> StudyFiles:
    """The files of a study whose series have the roles that their folders name."""
    roles = {folder: role for role, folder in FOLDERS.items()}
    return replace(files, series=tuple(replace(item, role=roles.get(item.series_id)) for item in files.series))


def _is_right(variant: Variant, change: float, studies: int, messages: tuple[str, ...]) -> bool:
    if studies != variant.people:
        return False
    same, reported = change <= MAX_CHANGE, bool(messages)
    return {SAME: same, REPORTED: reported, EITHER: same or reported}[variant.expected]


class _Listening(logging.Handler):
    """Collects warnings of the package while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logging.getLogger("lumbar_kernel").addHandler(self)
        return self._messages

    def __exit__(self, *error: object) -> None:
        logging.getLogger("lumbar_kernel").removeHandler(self)


def run_all(chosen: Sequence[Variant], study: Study, kernel: Kernel) -> list[Result]:
    """Run variants of a study and print a table, each line as soon as it is known."""
    print(f"\nstudy {study.study_id}\n\n{table_head('variant', 'about', 'largest change', 'studies', 'message')}")
    results = []
    with tempfile.TemporaryDirectory() as name:
        grader = VariantGrader(study, kernel, Path(name))
        for variant in chosen:
            results.append(grader.run(variant))
            print(_line(results[-1]), flush=True)
    return results


def _line(result: Result) -> str:
    message = result.reported[0][:90] if result.reported else ""
    verdict = "" if result.right else "**wrong** "
    return table_row(result.name, result.kind, f"{result.change:.3f}", result.studies, f"{verdict}{message}")


def main() -> None:
    """Run the variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, metavar="DIR", help="also every study of this folder, besides the phantom")
    parser.add_argument("--only", default="", metavar="NAME", help="only variants whose name holds this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results")
    arguments = parser.parse_args()
    logging.getLogger("lumbar_kernel").propagate = False
    chosen = [item for item in variants() if arguments.only.lower() in item.name.lower()]
    studies = [make_phantom(SEED, study_id=str(SEED), balanced=True).study]
    studies += map(read_study, find_studies(arguments.real)) if arguments.real else ()
    kernel = Kernel()
    results = {study.study_id: run_all(chosen, study, kernel) for study in studies}
    everything = [result for of_study in results.values() for result in of_study]
    kept = [result.change for result in everything if result.expected == SAME]
    wrong = [result for result in everything if not result.right]
    largest = max(kept, default=0.0)
    print(f"\n{len(everything)} variants, {len(wrong)} wrong; largest change of those that keep all: {largest:.3f}")
    if arguments.json:
        table = {name: [asdict(result) for result in of_study] for name, of_study in results.items()}
        arguments.json.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
