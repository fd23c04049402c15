"""`lumbar-kernel sr`: DICOM Structured Reports of a finished run."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from lumbar_kernel.commands.options import Commands, add_command, add_split, say
from lumbar_kernel.dependencies import require_structured_reports
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK

DESCRIPTION = """\
Write a DICOM Structured Report (TID 1500) and a selection of key images for each study that a finished run graded, into
OUT/structured_reports/<study>/. DATA is what the run graded; its files are read and never changed. Needs highdicom.

exit code: 0 every study of the run has its report, 3 some have none and are named, 2 wrong usage"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "sr", run, brief="write DICOM Structured Reports", description=DESCRIPTION)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of a finished run")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder, zip, tar or DICOMDIR that it graded")
    add_split(parser)


def run(chosen: argparse.Namespace) -> int:
    """Write Structured Reports."""
    require_structured_reports()
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # it logs every attribute that it copies
    from lumbar_kernel.structured_reports.write import write_structured_reports

    written, left_out = write_structured_reports(chosen.out, chosen.data, split=chosen.split)
    for line in (*map(str, written), *left_out):
        say(line)
    return EXIT_DEGRADED if left_out else EXIT_OK
