"""What the benchmark of lost nodes would notice."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from benchmarks import archive  # noqa: E402
from benchmarks.robustness import archive_kills  # noqa: E402
from benchmarks.robustness.archive_kills import (  # noqa: E402
    TOLERANCE,
    faults_of,
    kill_drivers,
    kill_nodes,
    unexplained,
)
from lumbar_kernel.archive.result_schema import GRADES, STUDIES  # noqa: E402
from lumbar_kernel.archive.storage import Folder  # noqa: E402
from lumbar_kernel.schema import ROWS, SEVERITIES, prior  # noqa: E402


def write(out, name, studies, *, shift=0.0):
    folder = Folder.of(out)
    grades = [
        {"study_id": study, "row_id": f"{study}_{row}", **dict(zip(SEVERITIES, values + shift, strict=True))}
        for study in studies
        for row, values in zip(ROWS, prior(), strict=True)
    ]
    rows = [{"study_id": study, "graded_rows": 0, "missing": [], "failures": []} for study in studies]
    (folder / "grades" / "result_set=x").write_table(f"{name}.parquet", pa.Table.from_pylist(grades, schema=GRADES))
    (folder / "studies" / "result_set=x").write_table(f"{name}.parquet", pa.Table.from_pylist(rows, schema=STUDIES))


@pytest.fixture
def expected():
    return dict.fromkeys("ab", prior())


def test_whole_results_have_no_faults(tmp_path, expected):
    write(tmp_path, "one", "ab")
    assert faults_of(tmp_path, expected) == []


def test_lost_repeated_and_changed_studies_are_seen(tmp_path, expected):
    write(tmp_path, "one", "a", shift=2 * TOLERANCE)
    write(tmp_path, "two", "a", shift=2 * TOLERANCE)
    found = " ".join(faults_of(tmp_path, expected))
    assert "a is there 2 times" in found
    assert "b is lost" in found
    assert "a differs by" in found
    assert f"row a_{ROWS[0]} is there 2 times" in found


def test_a_broken_study_without_a_reason_is_seen(tmp_path):
    write(tmp_path, "one", "ab")
    assert unexplained(tmp_path, {"a": "cut"}) == ["a (cut) has no reason"]


def test_a_broken_study_that_is_lost_is_left_to_the_other_check(tmp_path):
    write(tmp_path, "one", "b")
    assert unexplained(tmp_path, {"a": "cut"}) == []


ENDS, FAILS, WORKS = ["true"], ["false"], ["sleep", "60"]


def setting_of(*commands):
    """In place of an archive: each start takes the next command, in the end one that ends at once."""
    left = iter(commands)
    return SimpleNamespace(expected={}, command=lambda out, *options: next(left, ENDS))


@pytest.fixture
def moments(monkeypatch):
    """Seconds after which something is killed, one after the other; results are whole."""
    chosen = []
    rng = SimpleNamespace(uniform=lambda low, high: chosen.pop(0) if chosen else 60.0, choice=lambda items: items[0])
    monkeypatch.setattr(archive_kills.random, "Random", lambda seed: rng)
    monkeypatch.setattr(archive_kills, "faults_of", lambda *_, **__: [])
    return chosen


def test_drivers_that_end_by_themselves_do_not_count_as_killed(tmp_path, moments):
    trial = kill_drivers(setting_of(), tmp_path, times=2, longest=60.0)
    assert (trial.kills, trial.after) == (0, None)
    assert trial.faults == ("0 of 2 drivers were killed, the other runs ended first",)


def test_a_driver_that_ends_first_is_followed_by_another_run(tmp_path, moments):
    moments += [60.0, 0.0, 0.0]
    trial = kill_drivers(setting_of(ENDS, WORKS, WORKS), tmp_path, times=2, longest=60.0)
    assert (trial.kills, trial.started, trial.faults) == (2, 4, ())
    assert trial.after is not None


@pytest.mark.parametrize(("failures", "faults"), [(2, ()), (3, ("exit code 1",))])
def test_a_driver_that_fails_is_started_again_twice(tmp_path, moments, failures, faults):
    moments += [0.0]
    trial = kill_drivers(setting_of(WORKS, *[FAILS] * failures), tmp_path, times=1, longest=60.0)
    assert (trial.kills, trial.faults) == (1, faults)


def test_files_that_are_written_again_after_a_kill_are_seen(tmp_path, moments):
    part = tmp_path / "driver_0" / "studies" / "result_set=x" / "one.parquet"
    part.parent.mkdir(parents=True)
    part.write_text("before")
    moments += [0.0]
    trial = kill_drivers(setting_of(WORKS, ["sh", "-c", f"echo after > {part}"]), tmp_path, times=1, longest=60.0)
    assert trial.faults == ("one.parquet was written again",)


@pytest.fixture
def removed(monkeypatch):
    """The nodes that are taken from a cluster that is not there."""
    taken = []
    cluster = SimpleNamespace(address="nowhere", remove_node=lambda node, *, allow_graceful: taken.append(node))

    @contextmanager
    def three_nodes():
        yield cluster, ["second", "third"]

    monkeypatch.setattr(archive_kills, "three_nodes", three_nodes)
    return taken


def test_a_node_counts_as_lost_only_where_the_run_still_worked(tmp_path, moments, removed):
    moments += [60.0, 0.0]
    commands = setting_of(ENDS, ["sleep", "0.2"])
    short, long = kill_nodes(commands, tmp_path, times=2, undisturbed=False, longest=60.0)
    assert (short.after, short.kills) == (None, 0)
    assert (long.after, long.kills) == (0.0, 1)
    assert removed == ["second"]


def test_the_lines_say_how_many_runs_lost_a_node(tmp_path, moments, removed, capsys):
    moments += [60.0, 0.0]
    chosen = SimpleNamespace(times=2, seed=0)
    assert archive._nodes(setting_of(ENDS, ENDS, ["sleep", "0.2"]), tmp_path, chosen) == []
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first.startswith("undisturbed, ")
    assert second.startswith("ended before a node was lost, ")
    assert third.startswith("node lost after 0.0 s, ")
    assert last == "1 of 2 runs lost a node: 0 faults"
