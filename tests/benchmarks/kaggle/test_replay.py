"""The notebook and its metadata, and the notebook executed as Kaggle does it."""

import json
import re
from pathlib import Path

import nbformat
import psutil
import pytest

import build_wheel
from benchmarks.kaggle import execute, replay
from benchmarks.kaggle.check import check_submission

ROOT = Path(__file__).resolve().parents[3]
KERNEL_KEYS = {
    *("id", "title", "code_file", "language", "kernel_type", "is_private", "enable_gpu", "enable_tpu"),
    *("enable_internet", "machine_shape", "dataset_sources", "competition_sources", "kernel_sources"),
    *("model_sources", "keywords"),
}


@pytest.fixture
def notebook():
    return nbformat.read(ROOT / "inference.ipynb", as_version=4)


@pytest.fixture(scope="module")
def metadata():
    return json.loads((ROOT / "kernel-metadata.json").read_text(encoding="utf-8"))


def test_the_kernel_is_offline_on_a_gpu_that_kaggle_still_has(metadata):
    assert metadata["enable_internet"] is False
    assert metadata["machine_shape"] == "NvidiaTeslaT4"
    assert metadata["enable_gpu"] is True


def test_the_kernel_metadata_is_what_the_client_accepts(metadata):
    assert set(metadata) == KERNEL_KEYS
    owner, slug = metadata["id"].split("/")
    assert re.sub(r"[^a-z0-9]+", "-", metadata["title"].lower()) == slug
    assert all(source.startswith(f"{owner}/") for source in metadata["dataset_sources"])
    assert (metadata["language"], metadata["kernel_type"]) == ("python", "notebook")
    assert (ROOT / metadata["code_file"]).is_file()


def test_notebook_and_metadata_name_the_same_competition(notebook, metadata):
    assert metadata["competition_sources"] == [replay.COMPETITION]
    assert replay.COMPETITION in notebook.cells[1].source


def test_the_notebook_is_valid_small_and_without_outputs(notebook):
    nbformat.validate(notebook)
    assert (ROOT / "inference.ipynb").stat().st_size < 20_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) <= 6
    assert not [cell for cell in code if cell.outputs or cell.execution_count]


def test_parameters_go_behind_the_tagged_cell(notebook):
    changed = execute.with_parameters(notebook, {"HOURS": 0.5, "DEVICE": "cpu"})
    assert changed.cells[2].source == "HOURS = 0.5\nDEVICE = 'cpu'"
    names = {line.split(" = ")[0] for line in changed.cells[1].source.splitlines()}
    assert {"HOURS", "DEVICE", "STRICT", "PICTURES"} <= names


def test_a_notebook_without_parameters_is_refused():
    with pytest.raises(ValueError, match="0 cells have the tag"):
        execute.with_parameters(nbformat.v4.new_notebook(), {})


def only_installing(notebook):
    """The notebook up to the cell that installs, followed by a look at what it found."""
    position = next(index for index, cell in enumerate(notebook.cells) if cell.id == "install")
    notebook.cells = notebook.cells[: position + 1]
    source = 'print(find(f"competitions/{COMPETITION}", COMPETITION).resolve())\nfrom lumbar_kernel import schema'
    notebook.cells.append(nbformat.v4.new_code_cell(source))
    return notebook


@pytest.mark.parametrize(("layout", "unpacked"), [("new", False), ("new", True), ("flat", False), ("flat", True)])
def test_the_notebook_finds_its_inputs_in_every_layout(tmp_path, notebook, wheel, layout, unpacked):
    data, scratch = tmp_path / "data", tmp_path / "scratch"
    data.mkdir()
    scratch.mkdir()
    short = only_installing(notebook)
    done = replay.replay(scratch, short, data, wheel.parent, layout=layout, unpacked=unpacked, cap=60)
    assert str(data) in nbformat.read(done.notebook, as_version=4).cells[-2].outputs[0].text


def test_a_missing_wheel_is_named(tmp_path, notebook, wheel):
    empty, scratch = tmp_path / "empty", tmp_path / "scratch"
    empty.mkdir()
    scratch.mkdir()
    with pytest.raises(replay.ReplayError, match="attach it as an input"):
        replay.replay(scratch, only_installing(notebook), empty, empty, cap=60)


def test_a_notebook_that_takes_too_long_is_killed_with_its_children(tmp_path, wheel):
    mark = str(tmp_path / "mark")
    call = f"[sys.executable, '-c', 'import time; time.sleep(30)', {mark!r}]"
    source = f"import subprocess, sys\nsubprocess.run({call})"
    slow = nbformat.v4.new_notebook()
    slow.cells = [
        nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(source),
    ]
    with pytest.raises(replay.ReplayError, match="killed after 5 s"):
        replay.replay(tmp_path, slow, tmp_path, wheel.parent, cap=5)
    assert not [process for process in psutil.process_iter(["cmdline"]) if mark in (process.info["cmdline"] or ())]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "weights" / "manifest.json").is_file(), reason="no weights yet in this checkout")
def test_the_notebook_grades_phantoms_as_kaggle_would_run_it(tmp_path, notebook):
    dataset = build_wheel.build(ROOT, tmp_path / "dist").parent
    data, scratch = replay.make_phantoms(tmp_path / "phantoms"), tmp_path / "scratch"
    scratch.mkdir()
    done = replay.replay(scratch, notebook, data, dataset, parameters={"STRICT": True}, cap=300)
    assert check_submission(done.working / "submission.csv", data) == 25 * replay.PHANTOM_STUDIES
    shown = json.dumps(nbformat.read(done.notebook, as_version=4))
    assert shown.count("image/png") == 2
    assert "all studies graded" in shown
