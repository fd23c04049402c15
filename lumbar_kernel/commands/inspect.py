"""`lumbar-kernel inspect`: what would be read, without grading."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lumbar_kernel.commands.options import Commands, add_command, add_data, picture_file, say
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import EXIT_OK

DESCRIPTION = """\
Show what would be read from DATA, without grading: every study with its series, their roles and why they have them,
why others are not used, and every file that is refused with the reason. Only headers are read: a series whose headers
name no weighting is decided by its pixels, with --pixels also here."""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "inspect", run, brief="show what would be read", description=DESCRIPTION)
    add_data(parser)
    parser.add_argument("--pixels", action="store_true", help="decode the pixels too, as grading does")
    parser.add_argument("--json", action="store_true", help="one JSON object a study, one a line")
    drawn = "draw series, axial blocks and problems"
    parser.add_argument("--png", type=picture_file, metavar="FILE.png", help=drawn)


def run(chosen: argparse.Namespace) -> int:
    """Show what would be read."""
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
    for found in inspect_studies(studies, pixels=chosen.pixels, workers=usable_cpus()):
        say(json.dumps(found.as_json(), ensure_ascii=False) if chosen.json else found.as_text())
    if chosen.png:
        from lumbar_kernel.dicom.reader import read_study
        from lumbar_kernel.results.inspection_picture import draw_inspection

        drawn = draw_inspection(map(read_study, studies), chosen.png)
        # not among the JSON objects
        say(f"{chosen.png}: {drawn} of {len(studies)} studies", to_error=chosen.json)
    return EXIT_OK
