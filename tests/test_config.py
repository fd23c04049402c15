import dataclasses
import os
import sys
import zipfile
from pathlib import Path

import pytest

from lumbar_kernel.config import Config
from lumbar_kernel.errors import ConfigError


def test_defaults_work_and_text_becomes_paths(tmp_path):
    config = Config(data=str(tmp_path), output=str(tmp_path / "new" / "out"))
    assert config.data == tmp_path
    assert config.submission_path == tmp_path / "new" / "out" / "submission.csv"
    assert config.report_path.parent == config.output


def test_checking_makes_no_folder(tmp_path):
    Config(data=tmp_path, output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split", "validation"),
        ("seconds", -1),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("seconds", "60"),
        ("seconds", True),
        ("device", "gpu"),
        ("device", "cuda:"),
        ("device", "auto,cpu"),
        ("device", "cpu,"),
        ("study_seconds", 0),
        ("study_seconds", float("inf")),
        ("workers", -1),
        ("workers", 1.5),
        ("ahead", 0),
        ("pictures", -2),
        ("pictures", 1.5),
        ("html", "yes"),
        ("strict", "yes"),
        ("progress", 1),
        ("data", None),
        ("data", ""),
        ("output", 3),
        ("output", None),
        ("roles", 3),
        ("resume", "yes"),
        ("pictures", True),
        ("series", "1=t1"),
        ("series", (1,)),
    ],
)
def test_a_value_that_cannot_work_is_named(tmp_path, key, value):
    with pytest.raises(ConfigError, match=f"{key} must be") as caught:
        Config(**{"data": tmp_path, "output": tmp_path, key: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("pictures", "html", "drawn"),
    [(None, False, 0), (None, True, sys.maxsize), (2, True, 2), (0, True, 0), (3, False, 3)],
)
def test_a_page_has_the_pictures_of_all_studies_unless_a_number_is_named(tmp_path, pictures, html, drawn):
    assert Config(data=tmp_path, output=tmp_path, pictures=pictures, html=html).pictures_to_draw == drawn


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "cuda:0,cuda:1", "cpu,cpu"])
def test_devices_that_can_be_asked_for(tmp_path, device):
    assert Config(data=tmp_path, output=tmp_path, device=device).device == device


def test_data_must_exist_and_be_a_folder(tmp_path):
    (tmp_path / "file").touch()
    for name in ("absent", "file"):
        with pytest.raises(ConfigError, match=name):
            Config(data=tmp_path / name)


def test_data_may_be_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "studies", "w") as archive:
        archive.writestr("1.dcm", "")
    assert Config(data=tmp_path / "studies").data == tmp_path / "studies"


@pytest.mark.parametrize("below", ["", "deeper/out"])
def test_output_at_or_below_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="output must be a folder"):
        Config(data=tmp_path, output=tmp_path / "file" / below)


def test_output_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(ConfigError, match="no permission"):
        Config(data=tmp_path, output=tmp_path / "out")


def test_weights_need_a_manifest(tmp_path):
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        Config(data=tmp_path, weights=tmp_path)
    (tmp_path / "manifest.json").touch()
    assert Config(data=tmp_path, output=tmp_path, weights=str(tmp_path)).weights == tmp_path


@pytest.mark.parametrize(
    ("seconds", "reserve"), [(None, 0), (0, 0), (4, 2), (20, 3), (100, 5), (600, 30), (30_000, 30)]
)
def test_reserve_is_a_twentieth_within_bounds(tmp_path, seconds, reserve):
    assert Config(data=tmp_path, output=tmp_path, seconds=seconds).reserve == pytest.approx(reserve)


@pytest.mark.parametrize(("processors", "readers"), [(1, 1), (2, 1), (4, 3), (64, 8)])
def test_readers_leave_one_processor_to_the_grader(tmp_path, monkeypatch, processors, readers):
    monkeypatch.setattr("lumbar_kernel.config.usable_cpus", lambda: processors)
    config = Config(data=tmp_path, output=tmp_path)
    assert config.readers == readers
    assert dataclasses.replace(config, workers=0).readers == 0


def test_unknown_keys_and_changes_are_errors(tmp_path):
    with pytest.raises(TypeError, match="budget"):
        Config(data=tmp_path, budget=3)
    config = Config(data=tmp_path, output=tmp_path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seconds = 3


def test_paths_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Config(data="~", output="~/out", roles="~/roles.csv")
    assert (config.data, config.output, config.roles) == (tmp_path, tmp_path / "out", tmp_path / "roles.csv")


@pytest.mark.parametrize("name", ["submission.csv", "report.json"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_any_work(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=f"no folder in the place of {name}"):
        Config(data=tmp_path, output=tmp_path)


def test_a_folder_that_cannot_even_be_looked_at_is_refused(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(ConfigError, match=r"must be reachable: .*denied"):
        Config(data=tmp_path)
