"""The command line `lumbar-kernel COMMAND`; each command is a module of `commands/`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from lumbar_kernel import __version__
from lumbar_kernel.commands import archive, inspect, phantom, predict, report, score, sr
from lumbar_kernel.commands.options import PlainHelp, say
from lumbar_kernel.dependencies import require_dependencies
from lumbar_kernel.errors import ConfigError, DependencyError, KernelError
from lumbar_kernel.results.report import EXIT_NOTHING, EXIT_USAGE

COMMANDS = (predict, report, score, phantom, inspect, sr, archive)
"""Modules of the commands, in the order of the help."""

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
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lumbar-kernel", description=DESCRIPTION, formatter_class=PlainHelp)
    parser.add_argument("--version", action="version", version=f"lumbar-kernel {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_to(commands)
    return parser


if __name__ == "__main__":
    run()
