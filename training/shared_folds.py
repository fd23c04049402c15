"""The folds of studies that packs and the competition's folder share.

Packs keep the folds of their own tables, so that the table for the competition's studies has to say the same: a study
in two folds would be graded by networks that have seen it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from evaluation.held_out_studies import HELD_OUT_STUDIES
from lumbar_kernel.errors import ConfigError
from training.competition import fold_of, read_folds

PACK_TABLES = ("sagittal_t1/points.csv", "axial_t2_crops/labels.csv")
"""The packs' tables with studies of the competition."""


def table_of_packs(packs: Path) -> Path | None:
    """The table of folds that lies beside the packs; None without one."""
    table = packs / "rsna_tables" / "folds.csv"
    return table if table.is_file() else None


def disagreement(packs: Path, table: Path | None) -> str:
    """What keeps the packs' folds from being those of the competition's studies; empty where they agree.

    Args:
        packs: the folder of packs.
        table: of the competition's studies; without one, or for those that it does not list, a hash decides.
    """
    own = _folds_of_packs(packs)
    if not own:
        return ""
    if table is None:
        return f"{packs} has folds for {len(own)} of the competition's studies: a table with the same ones is needed"
    try:
        listed = read_folds(table)
    except ConfigError as error:
        return str(error)
    differ = sorted(study for study, fold in own.items() if fold_of(study, listed) != fold)
    if not differ:
        return ""
    first = differ[0]
    there = listed.get(first, "none")
    return f"{len(differ)} studies have other folds in {packs} than in {table}: {first} has {own[first]} and {there}"


def _folds_of_packs(packs: Path) -> dict[str, int]:
    """Study → fold of the competition's studies that packs hold slices of."""
    folds: dict[str, int] = {}
    for path in (packs / name for name in PACK_TABLES):
        if path.is_file():
            rows = pd.read_csv(path, usecols=["study_id", "fold"], dtype={"study_id": str}).drop_duplicates("study_id")
            folds |= dict(zip(rows["study_id"], rows["fold"].astype(int), strict=True))
    return {study: fold for study, fold in folds.items() if study not in HELD_OUT_STUDIES}
