"""The queries and cluster files of the page on archives."""

import re

import pyarrow.parquet as pq
import pytest
import yaml

from lumbar_kernel.archive.index_schema import SERIES
from lumbar_kernel.archive.result_schema import GRADES, STUDIES
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "archives.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_three_queries_answer(graded, monkeypatch):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    monkeypatch.chdir(graded.out.parent)
    severe, refused, matrices = (duckdb.sql(query) for query in blocks("sql"))
    rows = pq.read_table(graded.out / "grades").to_pylist()
    wanted = [
        row["study_id"]
        for row in rows
        if (row["condition"], row["level"]) == ("spinal_canal_stenosis", "l4_l5")
        and (row["source"], row["grade"]) == ("kernel", "severe")
        and row["confidence"] >= 0.9
    ]
    assert sorted(row[0] for row in severe.fetchall()) == sorted(wanted)
    assert dict(refused.fetchall()) == dict(graded.outcome.failed)
    counts = matrices.fetchall()
    assert sum(count for _, _, count, _ in counts) >= 2
    assert all(seconds > 0 for *_, seconds in counts)


def test_every_column_is_documented():
    for schema in (SERIES, GRADES, STUDIES):
        assert [name for name in schema.names if f"`{name}`" not in PAGE] == []


def test_cluster_files_are_whole():
    launcher, job = map(yaml.safe_load, blocks("yaml"))
    assert {"cluster_name", "provider", "auth", "head_start_ray_commands", "worker_start_ray_commands"} <= set(launcher)
    cluster = job["spec"]["rayClusterSpec"]
    assert job["kind"] == "RayJob"
    (workers,) = cluster["workerGroupSpecs"]
    for group in (cluster["headGroupSpec"], workers):
        (container,) = group["template"]["spec"]["containers"]
        mounted = {item["name"] for item in container["volumeMounts"]}
        assert mounted == {item["name"] for item in group["template"]["spec"]["volumes"]}
