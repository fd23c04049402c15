"""What the machine does to a run: a full disk, folders that cannot be written, a clock that jumps."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.kaggle.check import check_submission
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_NOTHING, EXIT_OK, EXIT_USAGE
from lumbar_kernel.schema import ROWS
from tests.permissions import run_bound_by_permissions

JUMPING_CLOCK = """
import itertools, time
true, jumps = time.time, itertools.cycle((0, 1e6, -1e6, -3e8, 5e8))
time.time = lambda: true() + next(jumps)
time.time_ns = lambda: int(1e9 * time.time())
"""
"""As `sitecustomize`, which every Python process imports first."""


def predict_command(data: Path, out: Path, *options: str) -> list[str]:
    return ["-m", "lumbar_kernel", "predict", str(data), "--out", str(out), "--quiet", *options]


def run(arguments: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False, **options
    )


@pytest.fixture
def small_disk(tmp_path):
    """Makes a disk of so many kilobytes; skips where no file system can be mounted."""
    mounted = []

    def make(kilobytes: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
            pytest.skip("no permission to mount a small disk")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_without_room_for_the_first_file_ends_the_run_with_the_reason(dataset, tmp_path):
    limit = 1000  # bytes of any file; a submission of two studies has three thousand

    def shrink():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = run(predict_command(dataset, tmp_path / "out", "--seconds", "0"), preexec_fn=shrink)
    assert done.returncode == EXIT_NOTHING
    assert "File too large" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_fills_up_keeps_the_last_good_file_and_is_reported(dataset, untrained, small_disk):
    out = small_disk(64)
    process = subprocess.Popen(
        [sys.executable, *predict_command(dataset, out, "--weights", str(untrained))], stderr=subprocess.PIPE, text=True
    )
    while not (out / "submission.csv").exists():
        assert process.poll() is None
        time.sleep(0.01)
    first = (out / "submission.csv").read_bytes()
    with suppress(OSError), (out / "of someone else").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    _, log = process.communicate(timeout=300)
    assert process.returncode == EXIT_DEGRADED
    assert "submission.csv stays as it was: [Errno 28] No space left" in log
    assert "report.json cannot be written: [Errno 28]" in log
    assert (out / "submission.csv").read_bytes() == first
    assert check_submission(out / "submission.csv", dataset) == 2 * len(ROWS)
    assert not list(out.glob(".*.part"))


def test_a_write_that_fails_midway_leaves_the_old_file(tmp_path):
    code = """
import resource, sys
from pathlib import Path
from lumbar_kernel.results.submission import write_atomic
path = Path(sys.argv[1])
write_atomic("old" * 100, path)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
write_atomic("new" * 100_000, path)
"""
    done = run(["-c", code, str(tmp_path / "submission.csv")])
    assert "File too large" in done.stderr
    assert (tmp_path / "submission.csv").read_text() == "old" * 100
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("where", ["read-only", "unreachable", "file", "below a file", "folder for a submission"])
def test_an_output_that_cannot_be_written_is_a_usage_error_before_any_work(dataset, tmp_path, where):
    place, inside = tmp_path / "place", "out"
    if "file" in where:
        place.touch()
        inside = "" if where == "file" else "out"
    else:
        (place / "out" / ("submission.csv" if "folder" in where else "")).mkdir(parents=True)
        inside = "out" if "folder" in where else "new"
        place.chmod({"read-only": 0o555, "unreachable": 0o000}.get(where, 0o755))
    try:
        done = run_bound_by_permissions(*predict_command(dataset, place / inside))
    finally:
        place.chmod(0o755)
    assert done.returncode == EXIT_USAGE, done.stderr
    assert "output" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("submission.csv") if path.is_file()]


@pytest.mark.slow
def test_a_wall_clock_that_jumps_changes_nothing(dataset, untrained, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")]), str(Path.cwd())])
    outs = tmp_path / "steady", tmp_path / "jumping"
    for out in outs:
        environment = os.environ | ({"PYTHONPATH": paths} if out.name == "jumping" else {})
        done = run(predict_command(dataset, out, "--weights", str(untrained), "--seconds", "200"), env=environment)
        assert done.returncode in (EXIT_OK, EXIT_DEGRADED), done.stderr
    assert outs[0].joinpath("submission.csv").read_bytes() == outs[1].joinpath("submission.csv").read_bytes()
    steady, jumping = (json.loads(out.joinpath("report.json").read_text()) for out in outs)
    assert jumping["exit_code"] == steady["exit_code"]
    assert jumping["members"] == steady["members"]
    assert 0 < jumping["margin_seconds"] < 200
    assert all(0 <= seconds < 200 for seconds in jumping["stages"].values())


def test_names_that_are_not_text_do_not_stop_a_run(dataset, untrained, tmp_path):
    data = tmp_path / "data"
    (first, second) = sorted(path for path in (dataset / "test_images").iterdir() if path.is_dir())
    data.mkdir()
    (data / os.fsdecode(b"st\xffdy")).symlink_to(first)
    (data / "7").symlink_to(second)
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = predict_command(data, tmp_path / "out", "--weights", str(untrained), "--seconds", "0")
    command.remove("--quiet")
    done = run(command, env=environment)
    assert done.returncode == EXIT_DEGRADED, done.stderr
    ids = {line.split("_")[0] for line in (tmp_path / "out" / "submission.csv").read_text().splitlines()[1:]}
    assert len(ids) == 2
    assert "7" in ids  # the other folder's name is not plain, so the study has its UID for an id
    assert "st\\udcffdy" in (tmp_path / "out" / "studies.csv").read_text()
