"""`lumbar-kernel archive`: an archive of any size on a Ray cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from lumbar_kernel.archive.defaults import DEVICES, SHARD_STUDIES
from lumbar_kernel.commands.options import Commands, add_command, add_split, add_study_seconds, say
from lumbar_kernel.dependencies import require_archive
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK
from lumbar_kernel.runtime.devices import AUTO

INDEX, STATUS = "index", "status"

DESCRIPTION = """\
Grade an archive of any size on a Ray cluster, or on this machine, into Parquet files in OUT.

  lumbar-kernel archive DATA --out OUT         index DATA, then grade every study that has no result yet
  lumbar-kernel archive index DATA --out OUT   index alone
  lumbar-kernel archive status --out OUT       done, failed by reason, studies an hour, time left

DATA is a folder, zip, tar or DICOMDIR, a URL such as s3://bucket/folder, or a CSV or Parquet table with the columns
study_id and path. An interrupted run goes on when it is started again. Needs the extra: lumbar-kernel[archive].

exit code: 0 every study has all grades, 3 some have fewer or none (status says why), 1 the run could not go on,
2 wrong usage"""


USAGE = """\
lumbar-kernel archive [index] DATA --out OUT [options]
       lumbar-kernel archive status --out OUT"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    add = add_command(commands, "archive", run, brief="grade an archive on a Ray cluster", description=DESCRIPTION)
    add.usage = USAGE
    add.add_argument(
        "words", nargs="+", metavar="DATA", help="the archive, after `index` to index it alone; or `status`"
    )
    add.add_argument("--out", required=True, help="folder or URL for index and results, reachable by every node")
    add.add_argument("--ray", metavar="ADDRESS", help="of a running cluster, auto for the one of this node")
    size = f"studies in a shard (default: {SHARD_STUDIES})"
    add.add_argument("--shard-studies", type=int, default=SHARD_STUDIES, metavar="N", help=size)
    device = f"{AUTO} takes GPUs where the cluster has them (default: {AUTO})"
    add.add_argument("--device", default=AUTO, choices=DEVICES, help=device)
    weights = "folder with manifest.json (default: the package's own)"
    add.add_argument("--weights", type=Path, metavar="DIR", help=weights)
    add_split(add)
    add.add_argument("--id-key", type=Path, metavar="FILE", help="publish ids hashed with the key in this file")
    add.add_argument("--cores", type=int, metavar="N", help="of this machine to use without --ray (default: all)")
    add_study_seconds(add)
    add.add_argument("--submission", action="store_true", help="write OUT/submission.csv of all results at the end")
    add.add_argument("--rescan", action="store_true", help="build the index again; results stay")
    add.add_argument("--retry-failed", action="store_true", help="grade studies again that got no grade before")
    add.add_argument("--quiet", action="store_true", help="no progress")


def run(chosen: argparse.Namespace) -> int:
    """Index or grade an archive, or say how far that is."""
    what, data = _split_words(chosen.words)
    require_archive()
    from lumbar_kernel.archive.storage import Folder

    out = Folder.of(chosen.out)
    if what == STATUS:
        from lumbar_kernel.archive.status import archive_status

        say(archive_status(out).as_text())
        return EXIT_OK
    return _index_or_grade(chosen, what, data)


def _split_words(words: list[str]) -> tuple[str, str]:
    """What to do and the archive: `DATA`, `index DATA` or `status`."""
    what = words[0] if words[0] in (INDEX, STATUS) else ""
    rest = words[1:] if what else words
    if len(rest) != (0 if what == STATUS else 1):
        msg = "usage: lumbar-kernel archive DATA, archive index DATA, or archive status, each with --out OUT"
        raise ConfigError(msg)
    return what, rest[0] if rest else ""


def _index_or_grade(chosen: argparse.Namespace, what: str, data: str) -> int:
    from lumbar_kernel.archive.grading import ArchiveOptions, grade_archive, index_archive, write_submission
    from lumbar_kernel.archive.ids import read_ids
    from lumbar_kernel.archive.status import archive_status
    from lumbar_kernel.archive.storage import Folder

    options = ArchiveOptions(
        data=data,
        out=Folder.of(chosen.out),
        ray=chosen.ray,
        shard_studies=chosen.shard_studies,
        split=chosen.split,
        weights=None if chosen.weights is None else chosen.weights.absolute(),
        device=chosen.device,
        ids=read_ids(chosen.id_key),
        study_seconds=chosen.study_seconds,
        cores=chosen.cores,
        rescan=chosen.rescan,
        retry_failed=chosen.retry_failed,
    )
    if what == INDEX:
        index = index_archive(options)
        say(f"{index.studies} studies, {index.files} files, {index.bytes / 1e9:.1f} GB: {index.folder.text}")
        for phrase, count in index.skipped.items():
            say(f"not read: {count} {phrase}")
        return EXIT_OK
    outcome = grade_archive(options)
    if chosen.submission:
        say(write_submission(outcome.index, outcome.results))
    status = archive_status(options.out)
    say(status.as_text())
    return EXIT_OK if status.by_status == {"graded": status.studies} else EXIT_DEGRADED
