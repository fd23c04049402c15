import json
import subprocess
import sys

import pytest

from benchmarks.kaggle.upload import OwnerError, write_dataset_metadata, write_notebook_folder
from tests.conftest import ROOT

KERNEL = ROOT / "kernel-metadata.json"

CLIENT = """
import contextlib, json, sys
from types import SimpleNamespace
from kaggle.api.kaggle_api_extended import KaggleApi
from requests.exceptions import HTTPError

api, sent = KaggleApi(), {}
api.config_values = {"username": "jane"}

def absent(ref):
    raise HTTPError(response=SimpleNamespace(status_code=404))

def create(request):
    sent["dataset"] = f"{request.owner_slug}/{request.slug}"
    return SimpleNamespace(error="")

def save(request):
    sent["notebook"], sent["attached"] = request.slug, request.dataset_data_sources
    sent["internet"], sent["machine"] = request.enable_internet, request.machine_shape

@contextlib.contextmanager
def client():
    yield SimpleNamespace(
        datasets=SimpleNamespace(dataset_api_client=SimpleNamespace(create_dataset=create)),
        kernels=SimpleNamespace(kernels_api_client=SimpleNamespace(save_kernel=save)),
    )

api.dataset_status, api.upload_files, api.build_kaggle_client = absent, lambda *a, **k: None, client
api.dataset_create_new(sys.argv[1])
api.kernels_push(sys.argv[2])
print(json.dumps(sent))
"""
"""The checks of the real client, with its network replaced."""


@pytest.fixture
def folders(tmp_path):
    dataset, notebook = tmp_path / "kaggle-dataset", tmp_path / "kaggle-notebook"
    dataset.mkdir()
    write_dataset_metadata(KERNEL, dataset, "jane")
    write_notebook_folder(KERNEL, notebook, "jane")
    return dataset, notebook


def test_both_folders_name_their_owner_and_each_other(folders):
    dataset, notebook = folders
    metadata = json.loads((dataset / "dataset-metadata.json").read_text())
    kernel = json.loads((notebook / "kernel-metadata.json").read_text())
    assert kernel["id"].startswith("jane/")
    assert kernel["dataset_sources"] == [metadata["id"]]
    assert "OWNER" not in json.dumps([metadata, kernel])
    assert (notebook / kernel["code_file"]).read_bytes() == (ROOT / "inference.ipynb").read_bytes()


@pytest.mark.parametrize("owner", ["OWNER", "", "Jane Doe", "jane/doe", "-jane"])
def test_a_name_that_cannot_be_an_owner_is_refused(tmp_path, owner):
    with pytest.raises(OwnerError, match="not a Kaggle user name"):
        write_dataset_metadata(KERNEL, tmp_path, owner)
    with pytest.raises(OwnerError):
        write_notebook_folder(KERNEL, tmp_path / "notebook", owner)
    assert list(tmp_path.iterdir()) == []


def test_the_real_client_accepts_both(folders, tmp_path):
    pytest.importorskip("kaggle", reason="the kaggle client needs Python 3.11")
    variables = {"KAGGLE_USERNAME": "jane", "KAGGLE_KEY": "0" * 32, "HOME": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", CLIENT, *map(str, folders)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "surprising behavior" not in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "dataset": "jane/lumbar-kernel-wheel",
        "notebook": "jane/lumbar-offline-inference",
        "attached": ["jane/lumbar-kernel-wheel"],
        "internet": False,
        "machine": "NvidiaTeslaT4",
    }
