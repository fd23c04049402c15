import copy
import dataclasses
import json

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from lumbar_kernel.results.report import (
    EXIT_DEGRADED,
    EXIT_OK,
    EXIT_USAGE,
    SCHEMA_VERSION,
    Failure,
    LevelReport,
    Report,
    SeriesReport,
    StudyReport,
    report_from,
    report_schema,
)
from lumbar_kernel.schema import LEVELS, ROWS, SERIES_DESCRIPTIONS
from tests.conftest import refused_by_schema

POINT = [1.0, 2.0, 3.0]
LEVEL = {
    "canal": POINT,
    "foramina": {"left": POINT, "right": POINT},
    "recesses": {"left": POINT, "right": POINT},
    "axial_series_id": "12",
    "axial_instance_number": 4,
    "confidence": 0.9,
    "foramen_confidence": [0.9, 0.8],
    "recess_confidence": [0.9, 0.8],
}


def full_report():
    """A report with something in every field."""
    graded = StudyReport(
        "1",
        series=(SeriesReport("11", "Axial T2", 40),),
        members=("axial", "sagittal"),
        confidence=0.9,
        landmarks=dict.fromkeys(LEVELS, LevelReport(**LEVEL)),
        graded_rows=25,
    )
    failed = StudyReport("2", missing=("no axial T2",), failures=(Failure("localise", "ValueError", "too dark"),))
    return Report(
        version="0.1.0",
        weights_sha256="ab" * 32,
        device="cpu",
        studies=(graded, failed),
        stages={"read": 1.5, "grade": 2.0},
        members=("axial",),
        members_failed={"sagittal": "hash differs"},
        failures=(Failure("picture", "OSError", "disk full"),),
        notes=("a full first pass needs 90 s",),
        seconds=12.0,
        budget_seconds=60.0,
        margin_seconds=48.0,
        exit_code=EXIT_DEGRADED,
    )


def test_a_report_survives_its_file(tmp_path):
    full_report().write(tmp_path / "report.json")
    entry = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert entry == json.loads(json.dumps(dataclasses.asdict(full_report())))
    assert report_from(entry) == full_report()


def test_arrays_and_numbers_that_json_lacks_do_not_stop_the_report():
    level = dataclasses.replace(LevelReport(**LEVEL), canal=np.array([1.0, np.nan, 3.0]))
    study = StudyReport("1", confidence=float("nan"), landmarks={"l1_l2": level})
    report = dataclasses.replace(full_report(), studies=(study,), margin_seconds=float("inf"), seconds=np.float32(2))
    entry = json.loads(report.to_json())
    assert entry["studies"][0]["landmarks"]["l1_l2"]["canal"] == [1.0, None, 3.0]
    assert entry["studies"][0]["confidence"] is entry["margin_seconds"] is None
    assert entry["seconds"] == 2


def test_the_summary_names_what_fell_short_and_only_that():
    text = full_report().summary()
    for part in (
        "valid but degraded",
        "1 of 2 studies",
        "60 s",
        "48.0 s left",
        "grade 2.0",
        "needs 90 s",
        "hash differs",
        "study 2: localise",
        "disk full",
    ):
        assert part in text
    assert "study 1:" not in text


def test_the_table_names_for_each_study_what_was_used_and_what_was_missing():
    graded, failed = full_report().table()
    assert (graded["study_id"], graded["series"], graded["slices"], graded["graded_rows"]) == ("1", 1, 40, 25)
    assert (graded["members"], graded["confidence"], graded["missing"]) == ("axial, sagittal", 0.9, "")
    assert failed["missing"] == "no axial T2; localise: ValueError: too dark"


def test_the_summary_stays_short():
    studies = tuple(StudyReport(str(number)) for number in range(50))
    report = dataclasses.replace(full_report(), studies=studies, exit_code=EXIT_OK)
    assert "and 40 more studies" in report.summary()
    assert len(report.summary().splitlines()) < 20


def test_the_verdict_says_whether_all_was_done():
    degraded = full_report()
    done = dataclasses.replace(degraded, exit_code=EXIT_OK)
    assert (done.verdict, degraded.verdict) == ("all studies graded", "valid but degraded")
    assert done.verdict in done.summary().splitlines()[0]


def test_the_schema_is_one_and_a_full_report_fits_it():
    Draft202012Validator.check_schema(report_schema())
    assert refused_by_schema(json.loads(full_report().to_json())) == []


def test_the_schema_describes_every_field_and_no_other():
    schema = report_schema()
    described = {Report: schema, StudyReport: schema["$defs"]["study"], SeriesReport: schema["$defs"]["series"]}
    described |= {Failure: schema["$defs"]["failure"], LevelReport: schema["$defs"]["level"]}
    for record, part in described.items():
        names = [item.name for item in dataclasses.fields(record)]
        assert list(part["properties"]) == names
        assert part["required"] == names
    assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_the_schema_knows_the_levels_rows_and_roles():
    definitions = report_schema()["$defs"]
    assert tuple(definitions["landmarks"]["properties"]) == LEVELS
    assert definitions["study"]["properties"]["graded_rows"]["maximum"] == len(ROWS)
    assert tuple(definitions["series"]["properties"]["role"]["enum"]) == SERIES_DESCRIPTIONS


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema_version",), 99),
        (("exit_code",), 7),
        (("exit_code",), EXIT_USAGE),
        (("seconds",), "12"),
        (("weights_sha256",), "abc"),
        (("studies", 0, "graded_rows"), 26),
        (("studies", 0, "confidence"), 1.5),
        (("studies", 0, "series", 0, "role"), "Coronal"),
        (("studies", 0, "landmarks", "l6_s1"), LEVEL),
        (("studies", 0, "landmarks", "l1_l2", "canal"), [1.0, 2.0]),
        (("studies", 0, "landmarks", "l1_l2", "recess_confidence"), 0.5),
    ],
)
def test_the_schema_refuses_what_a_report_never_holds(place, value):
    entry = copy.deepcopy(json.loads(full_report().to_json()))
    *outer, last = place
    part = entry
    for key in outer:
        part = part[key]
    part[last] = value
    assert refused_by_schema(entry)


@pytest.mark.parametrize("missing", ["schema_version", "studies", "exit_code"])
def test_the_schema_misses_a_field(missing):
    entry = json.loads(full_report().to_json())
    del entry[missing]
    assert refused_by_schema(entry)


def test_the_summary_names_the_five_longest_stages_from_the_longest_on():
    stages = {f"stage {number}": float(number) for number in (3, 1, 7, 2, 6, 5, 4)}
    text = dataclasses.replace(full_report(), stages=stages).summary()
    assert "seconds: stage 7 7.0, stage 6 6.0, stage 5 5.0, stage 4 4.0, stage 3 3.0\n" in text


def test_a_failure_that_returns_is_told_once():
    failure = Failure("read", "OSError", "the disk is gone")
    text = dataclasses.replace(full_report(), failures=(failure,) * 3, studies=()).summary()
    assert text.count("the disk is gone") == 1
