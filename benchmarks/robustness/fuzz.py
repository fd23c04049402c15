"""Robustness against broken files: `python -m benchmarks.robustness.fuzz --count 10000`.

Phantom files, uncompressed, RLE and multi-frame, are broken in every way of `benchmarks.robustness.mutations` and read
one by one in a process with a memory limit and a time cap; then each batch of them takes the place of files in a
study, whose other files must come out of the study loader with the same pixels. A crash, a hang, a refusal that does
not name its file and an intact file that is lost or changed are faults; each comes with the number that repeats it.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import RLELossless
from tqdm import tqdm

from benchmarks.robustness.dicom_files import read_frames, read_headers, write_enhanced
from benchmarks.robustness.mutations import KINDS
from benchmarks.tables import table_head, table_row
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.identity import identify
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import DicomError
from lumbar_kernel.phantom import write_dataset
from lumbar_kernel.processes import spawn_context
from lumbar_kernel.runtime.reader_process import try_read_study
from lumbar_kernel.study import Study

SEED = 1234
BATCH = 20
"""Broken files that one study gets."""

TWINS_EVERY = 3
"""Of so many studies one has an intact twin beside every broken file, whose place must then not be lost."""

FRAMES_SHARE = 0.1
"""Fraction of the broken files that are multi-frame files."""

MEMORY_LIMIT = 2 << 30
"""Bytes of address space that the reading process may take beyond what it has after its imports."""

TIME_LIMIT_SECONDS = 60.0
"""Of wall clock, on a machine that may have other work; the table has processor seconds."""

Place = tuple[str, tuple[float, ...]]
"""Role and origin of a slice."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of one file or study: `read`, `refused` or a fault, processor seconds, bytes of peak memory."""

    result: str
    reason: str
    seconds: float
    memory: int


@dataclass
class Row:
    """Results of one kind of mutation."""

    outcomes: list[Outcome] = field(default_factory=list)

    def cells(self) -> list[str]:
        """Count, read, refused, faults, slowest, peak memory; there must be an outcome."""
        results = [item.result for item in self.outcomes]
        read, refused = results.count("read"), results.count("refused")
        slowest, peak = max(item.seconds for item in self.outcomes), max(item.memory for item in self.outcomes)
        counts = map(str, (len(results), read, refused, len(results) - read - refused))
        return [*counts, f"{slowest:.2f} s", f"{peak / 2**20:.0f} MiB"]


def check_file(path: Path) -> tuple[str, str]:
    """Read one file as the reader process does: result and reason."""
    try:
        identify(str(path))
        headers = read_headers(path)
        pixels = read_frames(headers)
    except DicomError as error:
        named = str(error).startswith(f"{path.parent.name}/{path.name}: ")
        return ("refused" if named else "unnamed"), str(error)
    right = all(
        image.dtype == np.float32 and np.isfinite(image).all() and image.shape == header.plane.shape
        for header, image in zip(headers, pixels, strict=True)
    )
    return ("read" if right else "wrong pixels"), ""


def check_study(data: Path, wanted: dict[Place, str]) -> tuple[str, str]:
    """Read a study in which some files are broken: the intact ones must all be there, unchanged, in their role.

    A place without a digest, of a broken file with an intact twin, must be there with the pixels of either.
    """
    found: dict[Place, str] = {}
    problems: list[str] = []
    for files in find_studies(data):
        result = try_read_study(files)
        if result.study is None:
            return "study lost", result.error or ""
        found |= places(result.study)
        problems += result.study.problems
    lost = [place for place in wanted if place not in found or wanted[place] not in ("", found[place])]
    if lost:
        return "intact slices lost", f"{len(lost)}: {lost[:2]}; {'; '.join(problems)[:2000]}"
    return "read", ""


def places(study: Study) -> dict[Place, str]:
    """A digest of the pixels of every slice, by role and place."""
    return {
        (series.role, tuple(item.plane.origin.tolist())): hashlib.sha256(item.pixels.tobytes()).hexdigest()
        for series in study.series
        for item in series.slices
    }


class ReaderUnderTest:
    """A process that reads files under limits of time and memory; replaced when it dies."""

    def __init__(self) -> None:
        self._start()

    def ask(self, what: str, *arguments: object) -> Outcome:
        """The outcome of `check_file` or `check_study`."""
        try:
            self._pipe.send((what, arguments))
            if self._pipe.poll(TIME_LIMIT_SECONDS):
                outcome: Outcome = self._pipe.recv()
                return outcome
            result = "hang"
        except (EOFError, OSError):
            result = "process died"
        self.close()
        outcome = Outcome(result, f"exit code {self._process.exitcode}", TIME_LIMIT_SECONDS, 0)
        self._start()
        return outcome

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = spawn_context(with_main=True)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve_checks, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()


def _serve_checks(pipe: Connection) -> None:
    logging.disable(logging.WARNING)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_LIMIT, size + MEMORY_LIMIT))
    checks: dict[str, Callable[..., tuple[str, str]]] = {"file": check_file, "study": check_study}
    pipe.send(None)
    while True:
        what, arguments = pipe.recv()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        before, began = _memory("VmRSS"), time.process_time()
        try:
            result, reason = checks[what](*arguments)
        except Exception as error:  # noqa: BLE001 - to find them is what this is for
            result, reason = "crash", f"{type(error).__module__}.{type(error).__name__}: {error}"
        pipe.send(Outcome(result, reason, time.process_time() - began, _memory("VmHWM") - before))


def _memory(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


@dataclass(frozen=True)
class Base:
    """An intact study: its folder, its files, and the digest and position of each slice in either layout."""

    folder: Path
    files: tuple[Path, ...]
    digests: dict[bool, dict[Place, str]]
    origins: dict[Path, tuple[float, ...]]


def bases(folder: Path) -> list[Base]:
    """A phantom study twice: as it is, and with RLE Lossless pixels."""
    write_dataset(folder / "plain", studies=1, seed=SEED)
    shutil.copytree(folder / "plain", folder / "rle")
    for kind, compressed in (("plain", False), ("rle", True)):
        for path in (folder / kind).rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            if dataset.file_meta.TransferSyntaxUID.is_compressed:
                dataset.decompress()
            if compressed:
                dataset.compress(RLELossless)
            dataset.save_as(path)
    return [_base(folder / kind) for kind in ("plain", "rle")]


def _base(folder: Path) -> Base:
    files = tuple(sorted(folder.rglob("*.dcm")))
    origins = {path: tuple(read_headers(path)[0].plane.origin.tolist()) for path in files}
    digests = {}
    for table in (True, False):
        (study,) = find_studies(folder if table else folder / "test_images")
        digests[table] = places(read_study(study))
    return Base(folder, files, digests, origins)


def copied(base: Base, folder: Path, *, table: bool) -> dict[Path, Path]:
    """A study of links to the base's files, with the table or without; the link of each file."""
    images = folder / ("test_images" if table else "studies")
    shutil.copytree(base.folder / "test_images", images, copy_function=os.link)
    if table:
        shutil.copy(base.folder / "test_series_descriptions.csv", folder)
    return {path: images / path.relative_to(base.folder / "test_images") for path in base.files}


def broken_study(
    base: Base, folder: Path, kinds: Sequence[str], *, table: bool, frames: bytes, seed: tuple[int, int]
) -> tuple[list[Path], dict[Place, str]]:
    """A copy of a study with a file broken in each of these ways: their paths, and what the intact ones must give."""
    rng = np.random.default_rng(seed)
    links = copied(base, folder, table=table)
    chosen = [base.files[index] for index in rng.choice(len(base.files), len(kinds), replace=False)]
    for number, (kind, original) in enumerate(zip(kinds, chosen, strict=True), seed[1]):
        raw = frames if rng.random() < FRAMES_SHARE else original.read_bytes()
        links[original].unlink()
        KINDS[kind](links[original], raw, np.random.default_rng([*seed, number]))
    gone = {base.origins[path] for path in chosen}
    wanted = {place: digest for place, digest in base.digests[table].items() if place[1] not in gone}
    if seed[1] // BATCH % TWINS_EVERY == 0:
        for path in chosen:
            os.link(path, links[path].with_name(f"twin_of_{path.name}"))
        wanted |= {place: "" for place in base.digests[table] if place[1] in gone}
    return [links[path] for path in chosen], wanted


def fuzz(folder: Path, *, count: int, seed: int = SEED) -> tuple[dict[str, Row], list[str]]:
    """Break and read `count` files: results of each kind, of whole studies, and a line for every fault."""
    sound, work = bases(folder), folder / "work"
    planes = [(0, 0, z) for z in range(3)]
    frames = write_enhanced(folder / "frames.dcm", np.ones((3, 64, 64), np.uint16), positions=planes).read_bytes()
    table: dict[str, Row] = {name: Row() for name in (*KINDS, "study")}
    faults: list[str] = []

    def note(name: str, outcome: Outcome, number: int) -> None:
        table[name].outcomes.append(outcome)
        if outcome.result not in ("read", "refused"):
            faults.append(f"{name}, number {number}: {outcome.result}: {outcome.reason}")
            tqdm.write(faults[-1])

    reader = ReaderUnderTest()
    ways = itertools.cycle(KINDS)
    with suppress(KeyboardInterrupt):  # Ctrl-C ends with what was found
        for start in tqdm(range(0, count, BATCH), unit="study"):
            base, with_table = sound[start // BATCH % 2], start // BATCH % 4 < 2
            kinds = list(itertools.islice(ways, min(BATCH, count - start)))
            paths, wanted = broken_study(base, work, kinds, table=with_table, frames=frames, seed=(seed, start))
            for number, (kind, path) in enumerate(zip(kinds, paths, strict=True), start):
                note(kind, reader.ask("file", path), number)
            note("study", reader.ask("study", work, wanted), start)
            shutil.rmtree(work)
    reader.close()
    return table, faults


def main() -> None:
    """Fuzz and print the table; exit code 1 when there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="broken files (default: 10000)")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table, faults = fuzz(Path(name), count=arguments.count, seed=arguments.seed)
    print(table_head("broken by", "files", "read", "refused", "faults", "slowest", "peak memory"))
    for kind, row in table.items():
        if row.outcomes:  # few files, or Ctrl-C, leave some kinds without
            print(table_row(kind, *row.cells()))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
