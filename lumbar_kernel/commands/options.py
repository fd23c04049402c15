"""What several commands share: help as it is written, options that mean the same, and lines for the terminal."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from lumbar_kernel.config import SPLITS, STUDY_SECONDS
from lumbar_kernel.errors import ConfigError

GONE = (errno.EPIPE, errno.EIO)
"""Of writing to a pipe whose reader has ended, or to a terminal that was closed."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The parser of the command line as a command adds itself to it."""


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], *, brief: str, description: str
) -> argparse.ArgumentParser:
    """The parser of a new command, to which its arguments are added.

    Args:
        commands: of the command line.
        name: of the command.
        run: does what the command is for; returns the exit code.
        brief: a few words for the list of commands.
        description: paragraphs for the help of this command.
    """
    plain = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(name, help=brief, description=description, formatter_class=plain)
    parser.set_defaults(command=run)
    return parser


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add what studies are read from: the folder or archive, its split, and roles that replace those found."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder, zip, tar or DICOMDIR of studies")
    add_split(parser)
    roles = "CSV (study_id, series_id, series_description) with roles that replace those found"
    parser.add_argument("--roles", type=Path, metavar="FILE", help=roles)
    one = "role of one series: t1, t2, axial or none; may be repeated"
    parser.add_argument("--series", action="append", default=[], metavar="[STUDY/]SERIES=ROLE", help=one)


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add which split of the competition's data is read."""
    split = f"split of the competition's data to read (default: {SPLITS[0]})"
    parser.add_argument("--split", choices=SPLITS, default=SPLITS[0], help=split)


def add_study_seconds(parser: argparse.ArgumentParser) -> None:
    """Add the time limit of each stage of a study."""
    limit = f"longest time of a study in one stage, which is then given up (default: {STUDY_SECONDS:g})"
    parser.add_argument("--study-seconds", type=float, default=STUDY_SECONDS, metavar="S", help=limit)


def picture_file(text: str) -> Path:
    """The file of a picture to draw, as the parser reads it: a wrong suffix is refused before any work."""
    from lumbar_kernel.results.drawing import check_suffix  # brings OpenCV

    path = Path(text)
    try:
        check_suffix(path)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path


def say(text: str, *, to_error: bool = False) -> None:
    """Write a line to the terminal, whatever characters it can show: file names may hold undecodable bytes."""
    stream = sys.stderr if to_error else sys.stdout
    encoding = stream.encoding or "utf-8"
    with readers_may_leave():
        stream.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """Let it pass that nobody reads a standard stream any more, as in `predict … | head -1`: the work is done."""
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise
