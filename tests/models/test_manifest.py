import json
import shutil
from dataclasses import replace

import pytest

from lumbar_kernel.errors import WeightsError
from lumbar_kernel.models.checkpoints import load_member
from lumbar_kernel.models.manifest import FORMAT_VERSION, STAGES, read_manifest, weights_folder
from lumbar_kernel.schema import CANAL, FORAMINAL, GROUPS, SUBARTICULAR
from lumbar_kernel.views import VIEWS


@pytest.fixture
def copy(untrained, tmp_path):
    return shutil.copytree(untrained, tmp_path / "weights")


def change(folder, edit):
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(format_version=FORMAT_VERSION + 1),
        lambda m: m.pop("localisers"),
        lambda m: m["members"]["tiny_axial_t2"].update(view="coronal"),
        lambda m: m["members"]["tiny_axial_t2"].update(seconds_per_study=float("nan")),
        lambda m: m["members"]["tiny_axial_t2"].update(ensemble_weight={"spinal_canal_stenosis": float("inf")}),
        lambda m: m["localisers"].pop("axial"),
        lambda m: m["localisers"]["axial"].update(points="two"),
        lambda m: m["localisers"]["sagittal"].update(points=12),
        lambda m: m.update(levels=["c2_c3", "c3_c4", "c4_c5", "c5_c6", "c6_c7"]),
        lambda m: m.update(severities=["normal", "mild", "severe"]),
        lambda m: m["members"]["tiny_axial_t2"].update(files=[]),
        lambda m: m["members"]["tiny_axial_t2"]["files"][0].update(file="../outside"),
        lambda m: m["members"]["tiny_axial_t2"].update(ensemble_weight={"spinal_canal_stenosis": -1}),
        lambda m: m["members"]["tiny_axial_t2"].update(ensemble_weight={"canal": 1}),
        lambda m: m["members"]["tiny_axial_t2"].update(seconds_per_study=-1),
        lambda m: m.update(calibration={"nonsense": 1}),
        lambda m: m.update(members=[]),
        lambda m: m.update(stage_seconds={"localise": -1}),
        lambda m: m["members"]["tiny_axial_t2"].update(seconds_per_study="nan"),
    ],
)
def test_a_broken_manifest_is_refused_with_a_reason(copy, edit):
    change(copy, edit)
    with pytest.raises(WeightsError, match=r"manifest|calibration|nonsense"):
        read_manifest(copy)


def test_seconds_and_gains_may_be_missing(copy):
    manifest = read_manifest(copy)
    assert manifest.stage_seconds == STAGES
    assert {spec.gain for spec in manifest.members} == {0.0}
    change(copy, lambda m: m.update(stage_seconds={"localise": 0.5}))
    change(copy, lambda m: m["members"]["tiny_axial_t2"].update(gain=0.25))
    manifest = read_manifest(copy)
    assert manifest.stage_seconds == {**STAGES, "localise": 0.5}
    assert max(spec.gain for spec in manifest.members) == 0.25


def test_no_manifest_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        read_manifest(tmp_path)


def test_the_shipped_weights_load(trained):
    manifest = read_manifest()
    assert manifest.folder == trained
    assert {group for spec in manifest.members for group in VIEWS[spec.view].groups} == set(GROUPS)
    assert all(load_member(spec, trained) for spec in manifest.members)


def test_a_member_has_a_weight_for_the_conditions_of_its_view_only(untrained):
    spec = next(item for item in read_manifest(untrained).members if item.name == "tiny_axial_t2")
    assert (spec.weight(CANAL), spec.weight(SUBARTICULAR), spec.weight(FORAMINAL)) == (1.0, 1.0, 0.0)
    assert spec.stage == "grade tiny_axial_t2"


def test_the_views_are_those_of_the_members_each_once(untrained):
    manifest = read_manifest(untrained)
    assert set(manifest.views) == {"sagittal_t1", "axial_t2", "sagittal_t2"}
    assert replace(manifest, members=manifest.members[:1] * 2).views == (manifest.members[0].view,)


def test_the_weights_inside_a_wheel_are_used_before_those_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("lumbar_kernel.models.manifest.files", lambda package: tmp_path / package)
    inside, beside = tmp_path / "lumbar_kernel" / "weights", tmp_path / "weights"
    assert weights_folder() == beside
    inside.mkdir(parents=True)
    assert weights_folder() == inside
