import json
import sys

import numpy as np
import pytest

from lumbar_kernel.geometry import LEFT
from lumbar_kernel.models.heatmap_net import HeatmapNet
from tests.conftest import BACKBONE
from training import spineless
from training.augment import NOTHING
from training.fold_checkpoints import FoldCheckpoints
from training.single_slice import axial_slice

KINDS = {"the slice below", "the marked slice", "the slice above", "upside down", *NOTHING}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(spineless, "SAGITTAL", 4)


def test_a_pack_of_noise_shows_no_spine(packs_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["spineless", str(packs_folder), "--json", str(tmp_path / "found.json")])
    spineless.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) > KINDS
    assert all(found[kind]["passing"] == 0 for kind in KINDS)
    assert f"| noise | 0.00% | {found['noise']['n']} |" in capsys.readouterr().out


def test_crops_are_judged_without_their_fold_and_sagittal_slices_by_all(packs_folder, monkeypatch):
    nets = {fold: HeatmapNet(BACKBONE, points=2) for fold in (0, 2)}
    asked = []
    monkeypatch.setattr(
        spineless, "passing", lambda slices, used: asked.append((len(slices), used)) or [True] * len(slices)
    )
    found = spineless.measure(packs_folder, FoldCheckpoints(tuple(nets.items()), out_of_fold=True))
    of_crops, of_sagittal = asked[: 2 * len(KINDS)], asked[2 * len(KINDS) :]
    assert [used for _, used in of_crops] == [[nets[0]]] * len(KINDS) + [[nets[2]]] * len(KINDS)
    assert [used for _, used in of_sagittal] == [[nets[0], nets[2]]] * 3
    assert found["noise"] == {"passing": 1.0, "n": of_crops[0][0] + of_crops[-1][0]}
    assert found["magnified"] == {"passing": 1.0, "n": 4}


@pytest.mark.parametrize("shape", [(20, 31), (40, 40)])
def test_a_picture_is_placed_around_the_origin(shape):
    item = axial_slice(np.zeros(shape, np.uint8), mm=0.5)
    assert np.allclose(item.plane.to_mm((np.array(shape) - 1) / 2), 0)
    assert np.isclose(item.plane.extent_mm[1], shape[1] * 0.5)
    assert item.plane.row_direction @ LEFT == 1
