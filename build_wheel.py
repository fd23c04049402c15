"""Checks the weights, builds the wheel, lays out the Kaggle dataset and proves that it works without a network."""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.kaggle import offline
from benchmarks.kaggle.check import check_submission
from benchmarks.kaggle.upload import OwnerError, owned, write_dataset_metadata, write_notebook_folder

ROOT = Path(__file__).resolve().parent
MAX_FILE = 15_000_000
MAX_SUM = 60_000_000
EPOCH = 1_580_601_600
"""2 February 2020: the date of every member of the wheel, unless SOURCE_DATE_EPOCH is set."""
ZIP_DATE = (2020, 2, 2, 0, 0, 0)
COMPANIONS = ("*.md", "LICENSE*")
"""Text files beside the weights, which need no hash."""
PROOF_STUDIES = 2
CAPTURE: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


class BuildError(Exception):
    """The wheel must not be built or published as things are."""


def check_weights(folder: Path) -> None:
    """Compare the weights with their manifest.

    Raises:
        BuildError: naming the file that is absent, damaged, unlisted or too large.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        msg = f"{manifest} does not exist; train with `make train` or restore the weights"
        raise BuildError(msg)
    listed = {entry["file"]: entry for entry in _file_entries(json.loads(manifest.read_text(encoding="utf-8")))}
    for name, entry in listed.items():
        _check_file(folder / name, entry)
    total = sum((folder / name).stat().st_size for name in listed)
    if total > MAX_SUM:
        msg = f"the weights hold {total} bytes, {MAX_SUM} are allowed; leave a member out"
        raise BuildError(msg)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in {manifest.name, *listed} and not any(path.match(pattern) for pattern in COMPANIONS):
            msg = f"{path} is not in the manifest; remove it or export it again"
            raise BuildError(msg)


def build(root: Path, out: Path) -> Path:
    """Check the weights and build the wheel and the dataset folder.

    Args:
        root: the project.
        out: gets `kaggle-dataset/`, which is replaced whole.

    Returns:
        The wheel, the same bytes for the same sources.
    """
    check_weights(root / "weights")
    dataset = out / "kaggle-dataset"
    with tempfile.TemporaryDirectory() as scratch:
        call = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", scratch]
        variables = {**os.environ, "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH))}
        built = subprocess.run(call, cwd=root, env=variables, **CAPTURE)
        if built.returncode != 0:
            msg = f"hatchling failed with exit code {built.returncode}:\n{built.stdout}"
            raise BuildError(msg)
        source = next(Path(scratch).glob("*.whl"))
        shutil.rmtree(dataset, ignore_errors=True)
        dataset.mkdir(parents=True)
        wheel = dataset / source.name
        repack(source, wheel)
    check_wheel(wheel)
    write_dataset(root, wheel)
    return wheel


def repack(source: Path, target: Path) -> None:
    """Rewrite a wheel with sorted, uncompressed members of one date.

    Weights do not compress, and without compression the bytes do not depend on the zlib version. The metadata folder
    comes last with RECORD at its end, as the wheel format recommends.
    """
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = sorted(old.namelist(), key=lambda name: (".dist-info/" in name, name.endswith("/RECORD"), name))
        for name in names:
            member = zipfile.ZipInfo(name, date_time=ZIP_DATE)
            member.create_system = 3
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            new.writestr(member, old.read(name), compress_type=zipfile.ZIP_STORED)


def check_wheel(wheel: Path) -> None:
    """Compare every member with RECORD and refuse a requirement that pip could act on.

    Raises:
        BuildError: naming the member or requirement at fault.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(record).decode()))}
        wrong = sorted(set(names) ^ set(rows))
        for name in set(names) & set(rows) - {record}:
            content = archive.read(name)
            if rows[name] != [f"sha256={_record_hash(content)}", str(len(content))]:
                wrong.append(name)
        metadata = archive.read(record.replace("/RECORD", "/METADATA")).decode().partition("\n\n")[0]
    if wrong:
        msg = f"RECORD of {wheel.name} does not match: {', '.join(wrong)}"
        raise BuildError(msg)
    hard = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    if hard:
        msg = f"the wheel must require nothing, or pip would touch the image's torch; found {hard}"
        raise BuildError(msg)


def write_dataset(root: Path, wheel: Path) -> None:
    """Write the manifest and the checksums beside the wheel; the folder stays flat, as Kaggle's client skips others."""
    folder = wheel.parent
    shutil.copyfile(root / "weights" / "manifest.json", folder / "manifest.json")
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in sorted([wheel, folder / "manifest.json"]))
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")


def prove(wheel: Path) -> None:
    """Install the wheel in a separate environment and grade phantoms there, all without a network.

    Raises:
        BuildError: a command failed or the submission is not valid.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = folder / "environment"
        command = str(environment / "bin" / "lumbar-kernel")
        phantoms = ["phantom", "data", "--studies", str(PROOF_STUDIES), "--seed", "0", "--split", "test"]
        try:
            offline.install(environment, wheel)
            offline.check_offline(environment)
            _run([command, *phantoms], folder)
            _run([command, "predict", "data", "--out", "out", "--strict", "--quiet"], folder)
            check_submission(folder / "out" / "submission.csv", folder / "data")
        except (RuntimeError, ValueError, subprocess.CalledProcessError) as error:
            raise BuildError(str(error)) from error


def _run(command: list[str], folder: Path) -> None:
    """Run a command without a network; raises BuildError with the end of its output when it fails."""
    call = offline.without_network(command)
    done = subprocess.run(call, cwd=folder, env=offline.environment(), **CAPTURE)
    if done.returncode != 0:
        msg = f"`{' '.join(command)}` ended with exit code {done.returncode}:\n{done.stdout[-3000:]}"
        raise BuildError(msg)


def _file_entries(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in the manifest that names a file and its hash, at any depth."""
    if isinstance(node, dict):
        if "file" in node and "sha256" in node:
            yield node
        for value in node.values():
            yield from _file_entries(value)
    elif isinstance(node, list):
        for value in node:
            yield from _file_entries(value)


def _check_file(path: Path, entry: dict[str, Any]) -> None:
    """Compare one weights file with its entry; raises BuildError."""
    if not path.is_file():
        msg = f"{path} is in the manifest but does not exist; export it again"
        raise BuildError(msg)
    size = path.stat().st_size
    if size != entry.get("bytes", size) or _sha256(path) != entry["sha256"]:
        msg = f"{path} ({size} bytes) is not the file that the manifest describes; export it again"
        raise BuildError(msg)
    if size > MAX_FILE:
        msg = f"{path} holds {size} bytes, {MAX_FILE} are allowed; split it or use a smaller backbone"
        raise BuildError(msg)


def _sha256(path: Path) -> str:
    """Hash of a file in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record_hash(content: bytes) -> str:
    """Hash as RECORD spells it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def main() -> int:
    """Build the wheel and, unless skipped, verify it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder that gets kaggle-dataset/")
    parser.add_argument("--owner", help="your Kaggle user name: also write metadata and notebook for the upload")
    parser.add_argument("--skip-proof", action="store_true", help="do not install and run the wheel")
    arguments = parser.parse_args()
    try:
        if arguments.owner:
            owned(ROOT / "kernel-metadata.json", arguments.owner)  # a wrong name is refused before the build
        wheel = build(ROOT, arguments.out)
        print(f"{wheel.name}  {wheel.stat().st_size / 1e6:.1f} MB  sha256 {_sha256(wheel)}")
        if arguments.owner:
            write_dataset_metadata(ROOT / "kernel-metadata.json", wheel.parent, arguments.owner)
            write_notebook_folder(ROOT / "kernel-metadata.json", arguments.out / "kaggle-notebook", arguments.owner)
            print(f"for the upload by {arguments.owner}: {wheel.parent} and {arguments.out / 'kaggle-notebook'}")
        if not arguments.skip_proof:
            prove(wheel)
            print(f"proved: installed alone, without a network, it graded {PROOF_STUDIES} phantom studies")
    except (BuildError, OwnerError) as error:
        print(f"build_wheel: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
