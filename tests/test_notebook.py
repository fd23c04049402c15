import json
import re

import nbformat
import pytest

from benchmarks.kaggle import replay
from tests.conftest import ROOT

KERNEL_KEYS = {
    *("id", "title", "code_file", "language", "kernel_type", "is_private", "enable_gpu", "enable_tpu"),
    *("enable_internet", "machine_shape", "dataset_sources", "competition_sources", "kernel_sources"),
    *("model_sources", "keywords"),
}


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


def test_papermill_finds_one_cell_of_parameters(notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert len(tagged) == 1
    assert {"HOURS", "DEVICE", "STRICT", "PICTURES"} <= {line.split(" = ")[0] for line in tagged[0].source.splitlines()}
