"""`lumbar-kernel phantom`: synthetic studies."""

from __future__ import annotations

import argparse
from pathlib import Path

from lumbar_kernel.commands.options import Commands, add_command, picture_file, say
from lumbar_kernel.config import SPLITS
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import EXIT_OK

DESCRIPTION = """\
Write seeded synthetic studies in the competition's layout, with the truth beside them (test split: truth.csv and
truth_label_coordinates.csv; train split: train.csv and train_label_coordinates.csv), or a contact sheet of them with
their true points and grades, or both."""

GALLERY_ROWS = 8
"""Studies on a contact sheet; more are too small to look at."""

MAX_READER_NOISE = 3.0


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "phantom", run, brief="make synthetic studies", description=DESCRIPTION)
    parser.add_argument("out", type=Path, metavar="OUT", nargs="?", help="folder to write")
    drawn = f"draw the first {GALLERY_ROWS} studies; OUT may be left out"
    parser.add_argument("--gallery", type=picture_file, metavar="FILE.png", help=drawn)
    parser.add_argument("--studies", type=int, required=True, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same files (default: 0)")
    parser.add_argument("--split", choices=SPLITS, default=SPLITS[0], help="layout to write (default: test)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument(
        "--balanced", action="store_true", help="make stenosis much more common than in the competition"
    )
    parser.add_argument(
        "--reader-noise",
        type=float,
        default=0.0,
        metavar="X",
        help="disagreement of the radiologists behind the tables, 1 as in reality (default: 0, exact truth)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(chosen: argparse.Namespace) -> int:
    """Write phantoms."""
    from lumbar_kernel.phantom import write_dataset

    if chosen.studies < 1 or chosen.workers < 1:
        msg = f"--studies and --workers must be at least 1, not {chosen.studies} and {chosen.workers}"
        raise ConfigError(msg)
    if chosen.seed < 0:
        msg = f"--seed must be at least 0, not {chosen.seed}"
        raise ConfigError(msg)
    if not 0 <= chosen.reader_noise <= MAX_READER_NOISE:
        msg = f"--reader-noise must be 0 to {MAX_READER_NOISE}, not {chosen.reader_noise}"
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
        _draw_gallery(chosen)
        if not chosen.quiet:
            say(f"{chosen.gallery}")
    return EXIT_OK


def _draw_gallery(chosen: argparse.Namespace) -> None:
    """Draw the first studies as they are written, with the grades and marks of their tables."""
    from lumbar_kernel.phantom import dataset_study
    from lumbar_kernel.results.gallery import draw_gallery

    phantoms = (
        dataset_study(chosen.seed, index, balanced=chosen.balanced, reader_noise=chosen.reader_noise)
        for index in range(min(chosen.studies, GALLERY_ROWS))
    )
    draw_gallery(((phantom.study, phantom.truth) for phantom in phantoms), chosen.gallery)
