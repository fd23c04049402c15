import json

import nbformat
import psutil
import pytest

import build_wheel
from benchmarks.kaggle import replay
from benchmarks.kaggle.check import check_submission
from tests.conftest import ROOT


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
