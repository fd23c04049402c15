import json
import shutil

import pytest
import torch

from lumbar_kernel import Config
from lumbar_kernel.errors import WeightsError
from lumbar_kernel.tools import load_tools, pick_device


@pytest.fixture
def broken(untrained, tmp_path):
    """Weights of which one member's file is gone."""
    folder = shutil.copytree(untrained, tmp_path / "weights")
    (folder / "tiny_sagittal_t1.safetensors").unlink()
    return folder


def config_of(weights, tmp_path, **options):
    return Config(data=tmp_path, output=tmp_path / "out", weights=weights, device="cpu", **options)


def test_everything_of_the_manifest_is_loaded(untrained, tmp_path):
    tools, failed = load_tools(config_of(untrained, tmp_path))
    assert failed == {}
    assert set(tools.members) == set(json.loads((untrained / "manifest.json").read_text())["members"])
    assert (len(tools.sagittal), len(tools.axial)) == (1, 1)


def test_a_broken_member_is_left_out_with_its_reason(broken, tmp_path):
    tools, failed = load_tools(config_of(broken, tmp_path))
    assert set(failed) == {"tiny_sagittal_t1"}
    assert "tiny_sagittal_t1.safetensors" in failed["tiny_sagittal_t1"]
    assert "tiny_sagittal_t1" not in tools.members
    with pytest.raises(WeightsError):
        load_tools(config_of(broken, tmp_path, strict=True))


def test_a_localiser_cannot_be_left_out(untrained, tmp_path):
    folder = shutil.copytree(untrained, tmp_path / "weights")
    (folder / "sagittal.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"sagittal\.safetensors"):
        load_tools(config_of(folder, tmp_path))


def test_a_named_device_is_taken_at_its_word():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("cuda:1") == torch.device("cuda:1")


def test_a_card_that_is_there_but_does_not_work_is_not_taken(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("lumbar_kernel.tools.torch.ones", refuse)
    assert pick_device("auto") == torch.device("cpu")
