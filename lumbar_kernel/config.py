"""`Config`: the paths and options of one run, checked before any work is done."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lumbar_kernel import output_names
from lumbar_kernel.containers import container_kind
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.errors import ConfigError

SPLITS = ("test", "train")
JOURNAL = re.compile(r"journal(_\d+)?\.jsonl")
DEVICE = re.compile(r"auto|(cpu|cuda(:\d+)?)(,(cpu|cuda(:\d+)?))*")
MAX_RESERVE = 30.0
MIN_RESERVE = 3.0
"""Stopping the processes and writing the files takes half a second, and two with ten other processes per core."""
RESERVE_SHARE = 0.05
MAX_READERS = 8
STUDY_SECONDS = 120.0
"""The slowest real study takes a reader three seconds and the localiser on one busy core ten."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run; an unknown key is a TypeError, a value that cannot work a ConfigError.

    Attributes:
        data: existing folder of DICOM studies, or a zip, tar or DICOMDIR of them.
        output: folder for `submission.csv` and `report.json`; `predict` creates it.
        split: of the competition's data to read, one of `SPLITS`.
        seconds: budget of the whole run, None for no limit, 0 for the prior alone.
        device: "auto" (every GPU that works, else the processor), or "cpu", "cuda", "cuda:N"; several, separated by
            commas, share the studies.
        weights: folder with `manifest.json`, None for the weights inside the package.
        workers: reader processes, 0 to read in this process, None to follow the number of processors.
        ahead: studies that may be decoded beyond those in progress, shared out among the workers, at least 1.
        study_seconds: time limit of a reader for one study, and of a worker for one stage.
        strict: let the first exception of a study end the run instead of recording it.
        progress: show a progress bar.
        pictures: how many studies are drawn, the first ones; None for all with `html` and none without.
        html: write `report.html`, a page for browsers with the grades and pictures of all studies.
        resume: continue an interrupted run from its files in the output folder.
        roles: CSV file (study_id, series_id, series_description) with roles that replace those found, None for none.
        series: the same for single series, as SERIES=ROLE or STUDY/SERIES=ROLE; none as a role leaves a series out.
    """

    data: Path
    output: Path = Path("out")
    split: str = "test"
    seconds: float | None = None
    device: str = "auto"
    weights: Path | None = None
    workers: int | None = None
    ahead: int = 4
    study_seconds: float = STUDY_SECONDS
    strict: bool = False
    progress: bool = True
    pictures: int | None = None
    html: bool = False
    resume: bool = False
    roles: Path | None = None
    series: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("data", "output", "weights", "roles"):
            optional = name in ("weights", "roles")
            object.__setattr__(self, name, _path(name, getattr(self, name), optional=optional))
        try:
            _check_folders(self)
        except OSError as error:  # no permission even to look
            msg = f"data, output and weights must be reachable: {error}"
            raise ConfigError(msg) from error
        _check_choices(self)
        _check_numbers(self)

    @property
    def reserve(self) -> float:
        """Seconds of the budget reserved for the end: 5 %, 3 to 30, but no more than half; 0 without a budget."""
        if self.seconds is None:
            return 0.0
        return min(MAX_RESERVE, max(MIN_RESERVE, RESERVE_SHARE * self.seconds), self.seconds / 2)

    @property
    def readers(self) -> int:
        """Reader processes to start: `workers`, or all processors but one, between 1 and 8."""
        if self.workers is not None:
            return self.workers
        return max(1, min(MAX_READERS, usable_cpus() - 1))

    @property
    def submission_path(self) -> Path:
        """Path of the table of grades."""
        return self.output / output_names.SUBMISSION

    @property
    def report_path(self) -> Path:
        """Path of the report."""
        return self.output / output_names.REPORT

    @property
    def page_path(self) -> Path:
        """Path of the page for browsers."""
        return self.output / output_names.PAGE

    @property
    def pictures_path(self) -> Path:
        """Folder of the pictures."""
        return self.output / output_names.PICTURES

    @property
    def pictures_to_draw(self) -> int:
        """How many studies get a picture."""
        if self.pictures is not None:
            return self.pictures
        return sys.maxsize if self.html else 0

    def journal_of(self, shard: int) -> Path:
        """The journal of the worker that grades this shard."""
        return self.output / (f"journal_{shard}.jsonl" if shard else "journal.jsonl")

    @property
    def journals(self) -> list[Path]:
        """The journals that are in the output folder, of whatever run."""
        return [path for path in self.output.glob("journal*.jsonl") if JOURNAL.fullmatch(path.name)]

    @property
    def interrupted(self) -> bool:
        """Whether a run with the same output did not finish: a complete run removes its journals."""
        return bool(self.journals)


def _path(name: str, value: object, *, optional: bool) -> Path | None:
    """A value as a path; None only where the option may be left out."""
    if value is None and optional:
        return None
    if isinstance(value, str | os.PathLike) and str(value):
        return Path(value).expanduser()
    msg = f"{name} must be a path, not {value!r}"
    raise ConfigError(msg)


def _check_folders(config: Config) -> None:
    """Refuse input folders that are absent and an output folder that cannot be made or written."""
    if not config.data.is_dir() and container_kind(config.data) is None:
        msg = f"data must be an existing folder, zip, tar or DICOMDIR of DICOM studies, not {str(config.data)!r}"
        raise ConfigError(msg)
    if config.weights is not None and not (config.weights / "manifest.json").is_file():
        msg = f"weights must be a folder with a manifest.json, not {str(config.weights)!r}"
        raise ConfigError(msg)
    nearest = config.output.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        msg = f"output must be a folder, but {str(nearest)!r} is a file; name another folder"
        raise ConfigError(msg)
    for path in (config.submission_path, config.report_path):
        if path.is_dir():
            msg = f"output must have no folder in the place of {path.name}, as {str(config.output)!r} has"
            raise ConfigError(msg)
    if not os.access(nearest, os.W_OK | os.X_OK):
        msg = f"output {str(config.output)!r} cannot be written: no permission in {str(nearest)!r}; name another folder"
        raise ConfigError(msg)


def _check_choices(config: Config) -> None:
    """Refuse a split or device that does not exist and switches that are not true or false."""
    if config.split not in SPLITS:
        msg = f"split must be one of {', '.join(SPLITS)}, not {config.split!r}"
        raise ConfigError(msg)
    if not isinstance(config.device, str) or not DEVICE.fullmatch(config.device):
        msg = f"device must be auto, or cpu, cuda or cuda:N separated by commas, not {config.device!r}"
        raise ConfigError(msg)
    series: object = config.series
    if not isinstance(series, tuple | list) or not all(isinstance(item, str) for item in series):
        msg = f"series must be a tuple of texts such as SERIES=ROLE, not {series!r}"
        raise ConfigError(msg)
    for name in ("strict", "progress", "html", "resume"):
        if not isinstance(getattr(config, name), bool):
            msg = f"{name} must be True or False, not {getattr(config, name)!r}"
            raise ConfigError(msg)


def _check_numbers(config: Config) -> None:
    """Refuse a budget that is negative or not finite and counts that are not whole numbers."""
    seconds = config.seconds
    if seconds is not None and not (_is_a(seconds, int, float) and math.isfinite(seconds) and seconds >= 0):
        msg = f"seconds must be a finite number from 0, or None for no limit, not {seconds!r}"
        raise ConfigError(msg)
    check_study_seconds(config.study_seconds)
    for name, least in (("workers", 0), ("ahead", 1), ("pictures", 0)):
        value = getattr(config, name)
        if name in ("workers", "pictures") and value is None:
            continue
        if not (_is_a(value, int) and value >= least):
            msg = f"{name} must be a whole number from {least}, not {value!r}"
            raise ConfigError(msg)


def check_study_seconds(limit: float) -> None:
    """Refuse a time limit for a study that is not finite or not above 0; raises ConfigError."""
    if not (_is_a(limit, int, float) and math.isfinite(limit) and limit > 0):
        msg = f"study_seconds must be a finite number above 0, not {limit!r}"
        raise ConfigError(msg)


def _is_a(value: object, *kinds: type) -> bool:
    """Whether a value is of one of the kinds of number; True and False are not numbers here."""
    return isinstance(value, kinds) and not isinstance(value, bool)
