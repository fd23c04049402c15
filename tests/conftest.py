"""What many tests share: one phantom in memory, one on disk, and a weights folder of untrained nets."""

import hashlib
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from lumbar_kernel.axial import axial_views
from lumbar_kernel.checkpoints import weights_folder
from lumbar_kernel.grade import GradeNet
from lumbar_kernel.heatmaps import HeatmapNet
from lumbar_kernel.localise import Landmarks
from lumbar_kernel.phantom import make_phantom, write_dataset
from lumbar_kernel.schema import CANAL, FORAMINAL, SUBARTICULAR

BACKBONE = "mobilenetv3_small_050"


@pytest.fixture(scope="session")
def phantom():
    """One study in memory, all three roles."""
    return make_phantom(11, study_id="11")


@pytest.fixture(scope="session")
def landmarks(phantom):
    """Its true landmarks, in the shape that the localiser returns."""
    truth = phantom.truth
    sure = np.ones(5)
    return Landmarks(truth.disc_margin, truth.canal, truth.disc_normal, truth.foramina, sure, np.ones((5, 2)))


@pytest.fixture(scope="session")
def views(phantom, landmarks):
    """Its axial views by true geometry and an untrained net."""
    torch.manual_seed(0)
    return axial_views(phantom.study, landmarks, [HeatmapNet(BACKBONE, points=2).eval()])


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Two phantom studies on disk, test split."""
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder, studies=2, seed=23)
    return folder


def _write(net, folder, name):
    raw = safetensors.torch.save({key: value.contiguous() for key, value in net.half().state_dict().items()})
    (folder / name).write_bytes(raw)
    return {"file": name, "sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw), "fold": 0}


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A weights folder of tiny untrained nets, every view once, so that tests do not hang on what training found."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    localisers = {
        name: {
            "architecture": BACKBONE,
            "points": points,
            "files": [_write(HeatmapNet(BACKBONE, points=points), folder, f"{name}.safetensors")],
        }
        for name, points in (("sagittal", 10), ("axial", 2))
    }
    members = {}
    views = {"sagittal_t1": (1, (FORAMINAL,)), "axial_t2": (3, (CANAL, SUBARTICULAR)), "sagittal_t2": (3, (CANAL,))}
    for view, (in_chans, groups) in views.items():
        net = GradeNet(BACKBONE, in_chans=in_chans, heads=len(groups))
        members[f"tiny_{view}"] = {
            "view": view,
            "architecture": BACKBONE,
            "in_chans": in_chans,
            "ensemble_weight": dict.fromkeys(groups, 1.0 if view != "sagittal_t2" else 0.5),
            "seconds_per_study": 0.05,
            "files": [_write(net, folder, f"tiny_{view}.safetensors")],
        }
    manifest = {"format_version": 1, "localisers": localisers, "members": members, "calibration": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def trained():
    """The weights of this checkout."""
    return weights_folder()
