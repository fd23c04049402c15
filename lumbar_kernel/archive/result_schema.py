"""The layout of the results: a row for each grade, and a row for each study."""

from __future__ import annotations

import pyarrow as pa

from lumbar_kernel.schema import SEVERITIES

GRADES_FOLDER, STUDIES_FOLDER, INDEX_FOLDER = "grades", "studies", "index"

GRADED, PARTLY, FAILED = "graded", "partly", "failed"
"""Status of a study: all 25 rows graded, some, none."""

GRADES = pa.schema(
    [
        ("study_id", pa.string()),
        ("row_id", pa.string()),
        ("condition", pa.string()),
        ("side", pa.string()),
        ("level", pa.string()),
        *((severity, pa.float64()) for severity in SEVERITIES),
        ("grade", pa.string()),
        ("source", pa.string()),
        ("members", pa.list_(pa.string())),
        ("confidence", pa.float32()),
    ]
)

_SERIES = pa.struct([("series_id", pa.string()), ("role", pa.string()), ("slices", pa.int32())])
_POINT = pa.struct(
    [("level", pa.string()), ("point", pa.string())]
    + [(name, pa.float32()) for name in ("x_mm", "y_mm", "z_mm", "confidence")]
)
_FAILURE = pa.struct([("stage", pa.string()), ("type", pa.string()), ("reason", pa.string())])

STUDIES = pa.schema(
    [
        ("study_id", pa.string()),
        ("status", pa.string()),
        ("graded_rows", pa.int32()),
        ("confidence", pa.float32()),
        ("series", pa.list_(_SERIES)),
        ("landmarks", pa.list_(_POINT)),
        ("missing", pa.list_(pa.string())),
        ("failures", pa.list_(_FAILURE)),
        ("seconds", pa.float32()),
        ("finished", pa.timestamp("ms", tz="UTC")),
        ("version", pa.string()),
        ("weights_sha256", pa.string()),
        ("device", pa.string()),
        ("shard", pa.string()),
    ]
)
