"""`lumbar-kernel score`: a submission against labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from lumbar_kernel.commands.options import Commands, add_command, picture_file, say
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import EXIT_OK

DESCRIPTION = """\
Score a submission against labels with the competition's metric: weighted log loss of canal, foraminal and
subarticular grades, and of any severe canal stenosis; lower is better. TRUTH has the columns of train.csv.

A submission that the platform would refuse is refused here: other rows than those of the truth's studies, other
columns, values that are negative or not finite, rows that do not sum to one."""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "score", run, brief="score a submission", description=DESCRIPTION)
    parser.add_argument("submission", type=Path, metavar="SUBMISSION", help="submission.csv")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="train.csv, or truth.csv of a phantom")
    draws = "bootstrap draws of the interval, 0 for none (default: 1000)"
    parser.add_argument("--draws", type=int, default=1000, metavar="N", help=draws)
    parser.add_argument("--subset", action="store_true", help="score only the studies that both files hold")
    plot = "draw predicted against observed frequencies"
    parser.add_argument("--png", type=picture_file, metavar="FILE.png", help=plot)


def run(chosen: argparse.Namespace) -> int:
    """Score a submission."""
    from lumbar_kernel.results.metric import load_truth
    from lumbar_kernel.results.reliability import draw_reliability, reliability
    from lumbar_kernel.results.score_report import labels_and_probabilities, score_text, scored_rows
    from lumbar_kernel.results.submission import load_submission

    if chosen.draws < 0:
        msg = f"--draws must be at least 0, not {chosen.draws}"
        raise ConfigError(msg)
    for path in (chosen.submission, chosen.truth):
        if not path.is_file():
            msg = f"{str(path)!r} is not an existing file; give a submission and the table of its labels"
            raise ConfigError(msg)
    submission, truth = load_submission(chosen.submission), load_truth(chosen.truth)
    scored = scored_rows(submission, truth, subset=chosen.subset)
    bins = reliability(*labels_and_probabilities(scored, submission))
    say(score_text(scored, submission, bins, draws=chosen.draws))
    if chosen.png:
        draw_reliability(bins, chosen.png)
        say(f"{chosen.png}")
    return EXIT_OK
