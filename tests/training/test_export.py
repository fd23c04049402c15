import json

import pytest
import torch

from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.manifest import MANIFEST, STAGES, read_manifest
from training import export
from training.presets import SMOKE, TINY


def write_run(folder, *, fold):
    """A finished run of the sagittal canal member."""
    folder.mkdir(parents=True)
    torch.save({"average": GradeNet(TINY, in_chans=3, heads=1).state_dict()}, folder / "last.pt")
    (folder / "result.json").write_text(json.dumps({"settings": {"fold": fold, "backbone": TINY}}))


def test_the_seconds_to_plan_with_are_measured_for_every_stage(trained):
    measured = export.stage_seconds(trained)
    assert list(measured) == list(STAGES)
    assert min(measured.values()) > 0


def test_without_a_run_of_the_localiser_there_is_nothing_to_export(tmp_path):
    write_run(tmp_path / "canal_0", fold=0)
    with pytest.raises(FileNotFoundError, match="sagittal_0, sagittal_1"):
        export.exported_manifest(SMOKE, tmp_path, tmp_path)


def test_an_update_replaces_what_was_trained_and_keeps_the_rest(tmp_path, untrained, monkeypatch):
    earlier = json.loads((untrained / MANIFEST).read_text())
    earlier["members"] = {
        name.removeprefix("tiny_"): entry for name, entry in earlier["members"].items() if name != "tiny_sagittal_t2"
    }
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in export.file_names(earlier):
        (weights / name).write_bytes((untrained / name).read_bytes())
    (weights / "left_over.safetensors").write_bytes(b"of an older network")
    (weights / MANIFEST).write_text(json.dumps(earlier))
    for fold in (0, 1):
        write_run(tmp_path / "runs" / f"canal_{fold}", fold=fold)
    monkeypatch.setattr(export, "stage_seconds", lambda _: {})
    export.main([str(tmp_path / "runs"), str(weights), "--preset", "smoke", "--update"])
    found = read_manifest(weights)
    assert found.sagittal.files == read_manifest(untrained).sagittal.files
    names = {spec.name: [item.fold for item in spec.files] for spec in found.members}
    assert names["canal_t2"] == [0, 1]
    assert "axial_t2" in names
    stored = {path.name for path in weights.glob("*.safetensors")}
    assert stored == export.file_names(json.loads((weights / MANIFEST).read_text()))


def test_runs_of_other_folds_are_left_out(tmp_path, untrained):
    for fold in (0, 1):
        write_run(tmp_path / f"canal_{fold}", fold=fold)
    earlier = json.loads((untrained / MANIFEST).read_text())
    (tmp_path / "weights").mkdir()
    manifest = export.exported_manifest(SMOKE, tmp_path, tmp_path / "weights", folds=(1,), earlier=earlier)
    assert [item["fold"] for item in manifest["members"]["canal_t2"]["files"]] == [1]
