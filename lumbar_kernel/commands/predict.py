"""`lumbar-kernel predict`: grade studies."""

from __future__ import annotations

import argparse
from pathlib import Path

from lumbar_kernel.commands.options import Commands, add_command, add_data, add_study_seconds, say
from lumbar_kernel.runtime.budget import process_started

DESCRIPTION = """\
Grade every study in DATA and write OUT/submission.csv and OUT/report.json.

DATA is the competition's folder (test_images/ with test_series_descriptions.csv), or any folder of DICOM files,
nested in any way, a zip or tar of them, or a DICOMDIR; series then get their role from headers and pixels. A valid
submission with the prior is written at once and rewritten as studies are graded, so the run may be stopped at any
moment.

exit code: 0 every row of every study graded, 3 the submission is valid but something was missing or failed
(report.json says what), 1 no valid submission or a strict run that stopped, 2 wrong usage"""


WORKERS = """\
processes that read DICOM, at least one for each that grades (default: the cores but one, at most 8); 0 does everything
in one process"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "predict", run, brief="grade studies", description=DESCRIPTION)
    add_data(parser)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (default: out)")
    budget = "time budget of the whole run, including the start of the process (default: no limit)"
    parser.add_argument("--seconds", type=float, metavar="S", help=budget)
    add_study_seconds(parser)
    device = "auto, or cpu, cuda, cuda:N; several, separated by commas, share the studies (default: auto)"
    parser.add_argument("--device", default="auto", help=device)
    weights = "folder with manifest.json (default: the package's own)"
    parser.add_argument("--weights", type=Path, metavar="DIR", help=weights)
    parser.add_argument("--workers", type=int, metavar="N", help=WORKERS)
    drawn = "draw the first N studies (default: none, with --html all)"
    parser.add_argument("--pictures", type=int, metavar="N", help=drawn)
    parser.add_argument(
        "--html", action="store_true", help="write OUT/report.html, a page with all grades and pictures"
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run from its files in OUT")
    parser.add_argument("--strict", action="store_true", help="stop at the first unexpected exception")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def run(chosen: argparse.Namespace) -> int:
    """Grade studies, and return the exit code."""
    started = process_started()  # before imports that a cold disk may make long
    from lumbar_kernel.config import Config
    from lumbar_kernel.runtime.supervisor import predict

    config = Config(
        data=chosen.data,
        output=chosen.out,
        split=chosen.split,
        seconds=chosen.seconds,
        study_seconds=chosen.study_seconds,
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
    report = predict(config, started=started)
    if not chosen.quiet:
        say(report.summary())
        say(f"{config.submission_path}")
        if config.html and config.page_path.is_file():
            say(f"{config.page_path}")
    return report.exit_code
