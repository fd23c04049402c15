"""The command line `lumbar-kernel COMMAND`; each command is a module of `commands/`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from lumbar_kernel import __version__
from lumbar_kernel.commands import archive, inspect, phantom, predict, report, score, sr
from lumbar_kernel.commands.options import readers_may_leave, say
from lumbar_kernel.dependencies import require_dependencies
from lumbar_kernel.errors import ConfigError, DependencyError, KernelError
from lumbar_kernel.processes import STOPPING
from lumbar_kernel.results.report import EXIT_NOTHING, EXIT_USAGE

COMMANDS = (predict, report, score, phantom, inspect, sr, archive)
"""Modules of the commands, in the order of the help."""

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C, as shells give it."""

DESCRIPTION = """\
Grade lumbar-spine MRI offline: canal, foraminal and subarticular stenosis of the five lumbar discs.
For research, not for clinical use."""


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
        say(f"lumbar-kernel: {error}", to_error=True)
        return EXIT_USAGE
    except (KernelError, OSError) as error:
        say(f"lumbar-kernel: {error}", to_error=True)
        return EXIT_NOTHING
    return code


def run() -> NoReturn:
    """Run the command and exit at once: the files are written, and no thread or process may delay the exit."""
    open_closed_streams()
    exit_on_signals()
    try:
        code = main()
    except SystemExit as request:  # of the parser, or of a signal
        if not isinstance(request.code, int):
            raise
        code = request.code
    except KeyboardInterrupt:
        say("lumbar-kernel: interrupted", to_error=True)
        code = INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        with readers_may_leave():
            stream.flush()
    os._exit(code)


def open_closed_streams() -> None:
    """Give standard streams that the caller has closed to the null device.

    Else the next files and pipes that are opened would get their numbers, here and in every process that is started,
    and messages of libraries would be written into them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def exit_on_signals() -> None:
    """Let signals that ask this process to end raise SystemExit with the code that a shell gives them.

    On its way out the run ends its workers, writes the grades that it has and removes what it has unpacked, which may
    hold data of patients. A signal that is ignored, as by nohup, stays so.
    """
    for number in STOPPING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _exit)


def _exit(number: int, _: object) -> NoReturn:
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)  # terminals that close send several: the way out is gone once
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="lumbar-kernel", description=DESCRIPTION, formatter_class=plain)
    parser.add_argument("--version", action="version", version=f"lumbar-kernel {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_to(commands)
    return parser


if __name__ == "__main__":
    run()
