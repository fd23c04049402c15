import json
import shutil

import nbformat
import psutil
import pytest

import build_wheel
from benchmarks.kaggle import replay
from benchmarks.kaggle.check import check_submission
from tests.conftest import ROOT

MAX_BYTES = 1_000_000
"""Of the executed notebook: the platform shows larger ones slowly, and keeps every version."""


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
    with pytest.raises(replay.ReplayError, match="attach it as an input") as failure:
        replay.replay(scratch, only_installing(notebook), empty, empty, cap=60)
    assert failure.value.status == "Notebook Threw Exception"
    replay.keep_outputs(scratch, tmp_path / "kept")
    assert "attach it as an input" in (tmp_path / "kept" / "log.txt").read_text()
    assert (tmp_path / "kept" / "notebook.html").is_file()


@pytest.mark.parametrize(
    ("text", "status"), [(None, "Submission CSV Not Found"), ("row_id,grade\n1,2\n", "Submission Scoring Error")]
)
def test_a_submission_that_is_absent_or_wrong_fails_in_the_platforms_words(dataset, tmp_path, text, status):
    if text:
        (tmp_path / "submission.csv").write_text(text)
    with pytest.raises(replay.ReplayError) as failure:
        replay.check(replay.Replay(tmp_path, tmp_path / "none.ipynb", 1.0), dataset)
    assert failure.value.status == status


def test_only_the_hidden_rerun_has_its_variable(tmp_path, wheel):
    show = nbformat.v4.new_notebook()
    source = 'import os\nprint("rerun", os.environ.get("KAGGLE_IS_COMPETITION_RERUN"))'
    show.cells = [
        nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("import sys\nsys.path.insert(0, next(iter(__import__('glob').glob(MOUNT))))"),
        nbformat.v4.new_code_cell(source),
    ]
    for rerun, shown in ((False, "rerun None"), (True, "rerun 1")):
        scratch = tmp_path / str(rerun)
        scratch.mkdir()
        mount = f"{scratch}/input/datasets/*/*/*"
        done = replay.replay(
            scratch, show, tmp_path, wheel.parent, unpacked=True, rerun=rerun, parameters={"MOUNT": mount}, cap=60
        )
        assert shown in json.dumps(nbformat.read(done.notebook, as_version=4))


def test_a_notebook_that_takes_too_long_is_killed_with_its_children(tmp_path, wheel):
    mark = str(tmp_path / "mark")
    call = f"[sys.executable, '-c', 'import time; time.sleep(30)', {mark!r}]"
    source = f"import subprocess, sys\nsubprocess.run({call})"
    slow = nbformat.v4.new_notebook()
    slow.cells = [
        nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(source),
    ]
    with pytest.raises(replay.ReplayError, match=r"Notebook Timeout: .*killed after 5 s"):
        replay.replay(tmp_path, slow, tmp_path, wheel.parent, cap=5)
    marked = [item for item in psutil.process_iter(["cmdline", "status"]) if mark in (item.info["cmdline"] or ())]
    assert not [item for item in marked if item.info["status"] != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "weights" / "manifest.json").is_file(), reason="no weights yet in this checkout")
def test_the_notebook_grades_phantoms_as_kaggle_would_run_it(tmp_path, notebook):
    dataset = build_wheel.build(ROOT, tmp_path / "dist").parent
    data, scratch = replay.make_phantoms(tmp_path / "phantoms"), tmp_path / "scratch"
    scratch.mkdir()
    done = replay.replay(scratch, notebook, data, dataset, parameters={"STRICT": True}, cap=300)
    replay.keep_outputs(scratch, tmp_path / "kept")
    assert {"submission.csv", "report.json", "log.txt", "notebook.ipynb", "notebook.html"} <= {
        path.name for path in (tmp_path / "kept").iterdir()
    }
    page = (tmp_path / "kept" / "notebook.html").read_text()
    assert page.count("data:image/jpeg;base64") >= 2
    assert (tmp_path / "kept" / "report.html").is_file()
    assert (tmp_path / "kept" / "notebook.ipynb").stat().st_size < MAX_BYTES
    assert check_submission(done.working / "submission.csv", data) == 25 * replay.PHANTOM_STUDIES
    shown = json.dumps(nbformat.read(done.notebook, as_version=4))
    assert shown.count("image/jpeg") == 2
    assert "report.html" in shown
    assert "h to spare" in shown
    assert "manifest.json, sha256" in shown
    assert "all studies graded" in shown
    assert "50 rows, as the sample submission asks" in shown
    assert "as SHA256SUMS names it" in shown
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    done = replay.replay(hidden, notebook, data, dataset, rerun=True, cap=300)
    assert check_submission(done.working / "submission.csv", data) == 25 * replay.PHANTOM_STUDIES
    silent = json.dumps(nbformat.read(done.notebook, as_version=4))
    assert "image/jpeg" not in silent
    assert not (done.working / "report.html").exists()
    assert not (done.working / "pictures").exists()
    assert "all studies graded" not in silent


def test_a_damaged_wheel_is_named(tmp_path, notebook, wheel):
    dataset, scratch = tmp_path / "dataset", tmp_path / "scratch"
    shutil.copytree(wheel.parent, dataset)
    scratch.mkdir()
    (dataset / wheel.name).write_bytes(wheel.read_bytes()[:-10])
    with pytest.raises(replay.ReplayError, match="upload was incomplete"):
        replay.replay(scratch, only_installing(notebook), tmp_path, dataset, cap=60)


def test_the_newest_of_several_attached_wheels_is_taken(tmp_path, notebook, wheel):
    """Kaggle keeps old datasets attached; 0.10.0 is newer than 0.9.0."""
    dataset, scratch = tmp_path / "dataset", tmp_path / "scratch"
    dataset.mkdir()
    scratch.mkdir()
    for name in ("lumbar_kernel-0.0.9-py3-none-any.whl", "lumbar_kernel-0.0.10-py3-none-any.whl"):
        (dataset / name).write_bytes(b"not a wheel")
    shutil.copy(wheel, dataset)
    short = only_installing(notebook)
    (tmp_path / "data").mkdir()
    done = replay.replay(scratch, short, tmp_path / "data", dataset, cap=60)
    shown = json.dumps(nbformat.read(done.notebook, as_version=4))
    assert f"{wheel.name}, sha256" in shown
    assert "attached too, and not used: datasets/owner/lumbar-kernel-wheel/lumbar_kernel-0.0.10" in shown
