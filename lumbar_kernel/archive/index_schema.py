"""The layout of the index: one row for a series of a study."""

from __future__ import annotations

import pyarrow as pa

VERSION = 1
"""Of this layout; an index of another one is not used."""

SERIES = pa.schema(
    [
        ("study_number", pa.int32()),
        ("study_id", pa.string()),
        ("study_uid", pa.string()),
        ("series_id", pa.string()),
        ("role", pa.string()),
        ("given_role", pa.string()),
        ("slices", pa.int32()),
        ("files", pa.int32()),
        ("bytes", pa.int64()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("pixel_mm", pa.float32()),
        ("step_mm", pa.float32()),
        ("refused", pa.string()),
        ("study_problems", pa.list_(pa.string())),
        ("paths", pa.list_(pa.string())),
    ]
)
"""`study_number` counts the studies of a file from 0; `role` is what the headers and the rule of selection give,
`given_role` what a table says; `refused` says why a series without a role is not read, empty where its pixels decide.
A study without files has one row without a series."""

ROWS_A_GROUP = 1024
"""Few, since a task reads the groups that hold rows of its studies."""
