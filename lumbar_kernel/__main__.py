"""The command line: `lumbar-kernel predict | report | score | phantom | inspect | sr`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lumbar_kernel import __version__
from lumbar_kernel.config import SPLITS
from lumbar_kernel.dependencies import require_dependencies, require_structured_reports
from lumbar_kernel.errors import ConfigError, DependencyError, KernelError
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_GRADED, EXIT_NOTHING, EXIT_USAGE
from lumbar_kernel.runtime.budget import process_started

DESCRIPTION = """\
Grade lumbar-spine MRI offline: canal, foraminal and subarticular stenosis of the five lumbar discs.
For research, not for clinical use."""

PREDICT = """\
Grade every study in DATA and write OUT/submission.csv and OUT/report.json.

DATA is the competition's folder (test_images/ with test_series_descriptions.csv), or any folder of DICOM files,
nested in any way, a zip or tar of them, or a DICOMDIR; series then get their role from headers and pixels. A valid
submission with the prior is written at once and rewritten as studies are graded, so the run may be stopped at any
moment.

exit code: 0 every row of every study graded, 3 the submission is valid but something was missing or failed
(report.json says what), 1 no valid submission or a strict run that stopped, 2 wrong usage"""

REPORT = """\
Write OUT/report.html: one page for a browser, without any network, with the grades, pictures, series and failures of
all studies of a run and the time it took. It is made from report.json, grades.csv and pictures/ in OUT, so it can be
made at any time after `predict`; `predict --html` makes it at the end of the run."""

SCORE = """\
Score a submission against labels with the competition's metric: weighted log loss of canal, foraminal and
subarticular grades, and of any severe canal stenosis; lower is better. TRUTH has the columns of train.csv.

A submission that the platform would refuse is refused here: other rows than those of the truth's studies, other
columns, values that are negative or not finite, rows that do not sum to one."""

PHANTOM = """\
Write seeded synthetic studies in the competition's layout, with the truth beside them (test split: truth.csv and
truth_label_coordinates.csv; train split: train.csv and train_label_coordinates.csv), or a contact sheet of them with
their true points and grades, or both."""

REPORTS = """\
Write a DICOM Structured Report (TID 1500) and a selection of key images for each study that a finished run graded, into
OUT/structured_reports/<study>/. DATA is what the run graded; its files are read and never changed. Needs highdicom.

exit code: 0 every study of the run has its report, 3 some have none and are named, 2 wrong usage"""

GALLERY_ROWS = 8
"""Studies on a contact sheet; more are too small to look at."""

MOST_READER_NOISE = 3.0

INSPECT = """\
Show what would be read from DATA, without grading: every study with its series, their roles and why they have them,
why others are not used, and every file that is refused with the reason. Only headers are read: a series whose headers
name no weighting is decided by its pixels, with --pixels also here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING if getattr(chosen, "quiet", False) else logging.INFO,
        format="%(levelname)s %(message)s" if getattr(chosen, "quiet", False) else "%(message)s",
    )
    try:
        require_dependencies()
        code: int = chosen.command(chosen)
    except (ConfigError, DependencyError) as error:
        _say(f"lumbar-kernel: {error}", to_error=True)
        return EXIT_USAGE
    except (KernelError, OSError) as error:
        _say(f"lumbar-kernel: {error}", to_error=True)
        return EXIT_NOTHING
    return code


def run() -> NoReturn:
    """Run the command and exit at once: the files are written, and no thread or process may delay the exit."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lumbar-kernel", description=DESCRIPTION, formatter_class=_Plain)
    parser.add_argument("--version", action="version", version=f"lumbar-kernel {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands)
    _add_report(commands)
    _add_score(commands)
    _add_phantom(commands)
    _add_inspect(commands)
    _add_reports(commands)
    return parser


class _Plain(argparse.RawDescriptionHelpFormatter):
    """Keeps the paragraphs of a description."""


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("predict", help="grade studies", description=PREDICT, formatter_class=_Plain)
    add.set_defaults(command=_predict)
    add.add_argument("data", type=Path, metavar="DATA", help="folder, zip, tar or DICOMDIR of studies")
    add.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (default: out)")
    _add_split(add)
    _add_roles(add)
    add.add_argument("--seconds", type=float, help="time budget of the whole run, including the start of the process")
    add.add_argument("--study-seconds", type=float, help="give up a study that hangs in a stage for so long")
    device = "auto, or cpu, cuda, cuda:N; several, separated by commas, share the studies (default: auto)"
    add.add_argument("--device", default="auto", help=device)
    add.add_argument("--weights", type=Path, help="folder with manifest.json (default: the package's own)")
    add.add_argument("--workers", type=int, help="processes that decode DICOM; 0 does everything in one process")
    drawn = "draw the first N studies (default: none, with --html all)"
    add.add_argument("--pictures", type=int, metavar="N", help=drawn)
    add.add_argument("--html", action="store_true", help="write OUT/report.html, a page with all grades and pictures")
    add.add_argument("--resume", action="store_true", help="continue an interrupted run from its files in OUT")
    add.add_argument("--strict", action="store_true", help="stop at the first unexpected exception")
    add.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("report", help="write a run as a page", description=REPORT, formatter_class=_Plain)
    add.set_defaults(command=_write_page)
    add.add_argument("out", type=Path, metavar="OUT", help="folder of results, as `predict --out` names it")


def _add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("score", help="score a submission", description=SCORE, formatter_class=_Plain)
    add.set_defaults(command=_score)
    add.add_argument("submission", type=Path, metavar="SUBMISSION", help="submission.csv")
    add.add_argument("truth", type=Path, metavar="TRUTH", help="train.csv, or truth.csv of a phantom")
    add.add_argument("--draws", type=int, default=1000, help="bootstrap draws of the interval (default: 1000)")
    add.add_argument("--subset", action="store_true", help="score only the studies that both files hold")
    add.add_argument("--png", type=Path, metavar="FILE.png", help="draw predicted against observed frequencies")


def _add_phantom(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("phantom", help="make synthetic studies", description=PHANTOM, formatter_class=_Plain)
    add.set_defaults(command=_phantom)
    add.add_argument("out", type=Path, metavar="OUT", nargs="?", help="folder to write")
    add.add_argument(
        "--gallery", type=Path, metavar="FILE.png", help=f"draw the first {GALLERY_ROWS} studies; OUT may be left out"
    )
    add.add_argument("--studies", type=int, required=True, help="how many")
    add.add_argument("--seed", type=int, default=0, help="same seed, same files (default: 0)")
    add.add_argument("--split", choices=SPLITS, default=SPLITS[0], help="layout to write (default: test)")
    add.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    add.add_argument("--balanced", action="store_true", help="make stenosis much more common than in the competition")
    add.add_argument(
        "--reader-noise",
        type=float,
        default=0.0,
        metavar="X",
        help="disagreement of the radiologists behind the tables, 1 as in reality (default: 0, exact truth)",
    )
    add.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("inspect", help="show what would be read", description=INSPECT, formatter_class=_Plain)
    add.set_defaults(command=_inspect)
    add.add_argument("data", type=Path, metavar="DATA", help="folder, zip, tar or DICOMDIR of studies")
    _add_split(add)
    _add_roles(add)
    add.add_argument("--pixels", action="store_true", help="decode the pixels too, as grading does")
    add.add_argument("--json", action="store_true", help="one JSON object a study, one a line")
    add.add_argument("--png", type=Path, metavar="FILE.png", help="draw series, axial blocks and oddities")


def _add_reports(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("sr", help="write DICOM Structured Reports", description=REPORTS, formatter_class=_Plain)
    add.set_defaults(command=_reports)
    add.add_argument("out", type=Path, metavar="OUT", help="folder of a finished run")
    add.add_argument("data", type=Path, metavar="DATA", help="folder of studies that it graded")
    _add_split(add)


def _add_roles(parser: argparse.ArgumentParser) -> None:
    roles = "CSV (study_id, series_id, series_description) with roles that replace those found"
    parser.add_argument("--roles", type=Path, metavar="FILE", help=roles)
    one = "role of one series: t1, t2, axial or none; may be repeated"
    parser.add_argument("--series", action="append", default=[], metavar="[STUDY/]SERIES=ROLE", help=one)


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", choices=SPLITS, default=SPLITS[0], help="half of the competition's folder to read")


def _predict(chosen: argparse.Namespace) -> int:
    from lumbar_kernel.config import STUDY_SECONDS, Config
    from lumbar_kernel.runtime.supervisor import predict

    config = Config(
        data=chosen.data,
        output=chosen.out,
        split=chosen.split,
        seconds=chosen.seconds,
        study_seconds=STUDY_SECONDS if chosen.study_seconds is None else chosen.study_seconds,
        device=chosen.device,
        weights=chosen.weights,
        workers=chosen.workers,
        pictures=chosen.pictures,
        html=chosen.html,
        resume=chosen.resume,
        roles=chosen.roles,
        series=tuple(chosen.series),
        strict=chosen.strict,
        progress=not chosen.quiet,
    )
    report = predict(config, started=process_started())
    if not chosen.quiet:
        _say(report.summary())
        _say(f"{config.submission_path}")
        if config.html and config.page_path.is_file():
            _say(f"{config.page_path}")
    return report.exit_code


def _write_page(chosen: argparse.Namespace) -> int:
    from lumbar_kernel.results.page import write_page

    _say(f"{write_page(chosen.out)}")
    return EXIT_GRADED


def _score(chosen: argparse.Namespace) -> int:
    from lumbar_kernel.results.metric import load_solution
    from lumbar_kernel.results.reliability import draw_reliability, reliability
    from lumbar_kernel.results.score_report import labels_and_probabilities, score_text, scored_rows
    from lumbar_kernel.results.submission import load_submission

    submission, solution = load_submission(chosen.submission), load_solution(chosen.truth)
    scored = scored_rows(submission, solution, subset=chosen.subset)
    bins = reliability(*labels_and_probabilities(scored, submission))
    _say(score_text(scored, submission, bins, draws=chosen.draws))
    if chosen.png:
        draw_reliability(bins, chosen.png)
        _say(f"{chosen.png}")
    return EXIT_GRADED


def _phantom(chosen: argparse.Namespace) -> int:
    from lumbar_kernel.phantom import write_dataset

    if chosen.studies < 1 or chosen.workers < 1:
        msg = f"--studies and --workers must be at least 1, not {chosen.studies} and {chosen.workers}"
        raise ConfigError(msg)
    if not 0 <= chosen.reader_noise <= MOST_READER_NOISE:
        msg = f"--reader-noise must be 0 to {MOST_READER_NOISE}, not {chosen.reader_noise}"
        raise ConfigError(msg)
    if not (chosen.out or chosen.gallery):
        msg = "nothing to write: name the folder OUT, or --gallery FILE.png, or both"
        raise ConfigError(msg)
    if chosen.out:
        write_dataset(
            chosen.out,
            studies=chosen.studies,
            seed=chosen.seed,
            split=chosen.split,
            workers=chosen.workers,
            progress=not chosen.quiet,
            balanced=chosen.balanced,
            reader_noise=chosen.reader_noise,
        )
    if chosen.gallery:
        _draw_gallery(chosen.gallery, studies=min(chosen.studies, GALLERY_ROWS), seed=chosen.seed)
        if not chosen.quiet:
            _say(f"{chosen.gallery}")
    return EXIT_GRADED


def _draw_gallery(path: Path, *, studies: int, seed: int) -> None:
    from lumbar_kernel.phantom import dataset_study
    from lumbar_kernel.results.gallery import draw_gallery

    phantoms = (dataset_study(seed, index) for index in range(studies))
    draw_gallery(((phantom.study, phantom.truth) for phantom in phantoms), path)


def _inspect(chosen: argparse.Namespace) -> int:
    from lumbar_kernel.dicom.unpacking import unpacked

    with unpacked(chosen.data) as (data, _):
        return _show_studies(chosen, data)


def _show_studies(chosen: argparse.Namespace, data: Path) -> int:
    from lumbar_kernel.dicom.discovery import find_studies
    from lumbar_kernel.dicom.inspection import inspect_studies
    from lumbar_kernel.dicom.overrides import read_overrides

    overrides = read_overrides(chosen.roles, chosen.series)
    studies = overrides.applied_to(find_studies(data, split=chosen.split))
    if not studies:
        msg = f"no study found in {str(chosen.data)!r}"
        raise ConfigError(msg)
    for found in inspect_studies(studies, pixels=chosen.pixels, workers=os.cpu_count() or 1):
        _say(json.dumps(found.as_json(), ensure_ascii=False) if chosen.json else found.as_text())
    if chosen.png:
        from lumbar_kernel.dicom.reader import read_study
        from lumbar_kernel.results.inspection_picture import draw_inspection

        drawn = draw_inspection(map(read_study, studies), chosen.png)
        _say(f"{chosen.png}: {drawn} of {len(studies)} studies")
    return EXIT_GRADED


def _reports(chosen: argparse.Namespace) -> int:
    require_structured_reports()
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # it logs every attribute that it copies
    from lumbar_kernel.structured_reports.write import write_structured_reports

    written, left_out = write_structured_reports(chosen.out, chosen.data, split=chosen.split)
    for line in (*map(str, written), *left_out):
        _say(line)
    return EXIT_DEGRADED if left_out else EXIT_GRADED


def _say(text: str, *, to_error: bool = False) -> None:
    stream = sys.stderr if to_error else sys.stdout
    # file names may hold undecodable bytes, and a terminal may not support every character
    encoding = stream.encoding or "utf-8"
    stream.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))


if __name__ == "__main__":
    run()
