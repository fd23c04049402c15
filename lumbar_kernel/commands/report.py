"""`lumbar-kernel report`: a finished run as a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from lumbar_kernel.commands.options import Commands, add_command, say
from lumbar_kernel.results.report import EXIT_OK

DESCRIPTION = """\
Write OUT/report.html: one page for a browser, without any network, with the grades, pictures, series and failures of
all studies of a run and the time it took. It is made from report.json, grades.csv and pictures/ in OUT, so it can be
made at any time after `predict`; `predict --html` makes it at the end of the run."""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "report", run, brief="write a run as a page", description=DESCRIPTION)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of results, as `predict --out` names it")


def run(chosen: argparse.Namespace) -> int:
    """Write the page of a run."""
    from lumbar_kernel.results.page import write_page

    say(f"{write_page(chosen.out)}")
    return EXIT_OK
