import json
import shutil

import pytest
import torch

from lumbar_kernel.errors import WeightsError
from lumbar_kernel.models.checkpoints import load_localiser, load_member
from lumbar_kernel.models.manifest import STAGES, read_manifest

CPU = torch.device("cpu")


@pytest.fixture
def copy(untrained, tmp_path):
    return shutil.copytree(untrained, tmp_path / "weights")


def change(folder, edit):
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_nets_come_ready_for_use(untrained):
    manifest = read_manifest(untrained)
    nets = load_localiser(manifest.sagittal, untrained, device=CPU)
    nets += [net for spec in manifest.members for net in load_member(spec, untrained, device=CPU)]
    assert not any(net.training for net in nets)
    assert {parameter.dtype for net in nets for parameter in net.parameters()} == {torch.float32}


def test_a_changed_byte_is_noticed(copy):
    spec = read_manifest(copy).members[0]
    raw = bytearray((copy / spec.files[0].file).read_bytes())
    raw[-1] ^= 1
    (copy / spec.files[0].file).write_bytes(raw)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_member(spec, copy, device=CPU)


def test_a_missing_file_is_named(copy):
    spec = read_manifest(copy).members[0]
    (copy / spec.files[0].file).unlink()
    with pytest.raises(WeightsError, match=spec.files[0].file):
        load_member(spec, copy, device=CPU)


def test_weights_of_another_architecture_are_refused(copy):
    change(copy, lambda m: m["members"]["tiny_axial_t2"].update(architecture="mobilenetv3_small_075"))
    spec = next(item for item in read_manifest(copy).members if item.name == "tiny_axial_t2")
    with pytest.raises(WeightsError, match="architecture"):
        load_member(spec, copy, device=CPU)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(format_version=2),
        lambda m: m.pop("localisers"),
        lambda m: m["members"]["tiny_axial_t2"].update(view="coronal"),
        lambda m: m["members"]["tiny_axial_t2"].update(seconds_per_study=float("nan")),
        lambda m: m["members"]["tiny_axial_t2"].update(ensemble_weight={"spinal_canal_stenosis": float("inf")}),
        lambda m: m["localisers"].pop("axial"),
        lambda m: m["localisers"]["axial"].update(points="two"),
        lambda m: m["members"]["tiny_axial_t2"].update(files=[]),
        lambda m: m["members"]["tiny_axial_t2"]["files"][0].update(file="../outside"),
        lambda m: m["members"]["tiny_axial_t2"].update(ensemble_weight={"spinal_canal_stenosis": -1}),
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


def test_figures_to_plan_with_may_be_missing(copy):
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
    groups = {group for spec in manifest.members for group in _groups(spec)}
    assert len(groups) == 3
    assert all(load_member(spec, trained, device=CPU) for spec in manifest.members)


def _groups(spec):
    from lumbar_kernel.views import VIEWS

    return VIEWS[spec.view].groups
