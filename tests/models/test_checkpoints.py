import json
import shutil
from dataclasses import replace
from hashlib import sha256

import pytest
import safetensors.torch
import torch
from torch import nn

from benchmarks.robustness.dicom_files import write_stack
from lumbar_kernel import Config, predict
from lumbar_kernel.errors import WeightsError
from lumbar_kernel.models.checkpoints import LoadedModels, load_localiser, load_member, load_models
from lumbar_kernel.models.manifest import WeightsFile, read_manifest
from lumbar_kernel.results.report import EXIT_DEGRADED
from lumbar_kernel.results.submission import submission_text
from lumbar_kernel.schema import prior

MEMBER = "tiny_sagittal_t1"
CPU = torch.device("cpu")


@pytest.fixture
def weights(untrained, tmp_path):
    return shutil.copytree(untrained, tmp_path / "weights")


@pytest.fixture
def data(tmp_path):
    """One small study."""
    write_stack(tmp_path / "data" / "7" / "1", [(float(x), 0.0, 0.0) for x in (-4, 0, 4)], SeriesDescription="T1")
    return tmp_path / "data"


def damage(path, how):
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "a folder":
        path.unlink()
        path.mkdir()


def rewrite(weights, **changes):
    """Change a member's entry in the manifest."""
    manifest = json.loads((weights / "manifest.json").read_text())
    manifest["members"][MEMBER] |= changes
    (weights / "manifest.json").write_text(json.dumps(manifest))


def test_everything_of_the_manifest_is_loaded(untrained):
    models, failed = load_models(untrained, "cpu")
    assert failed == {}
    assert set(models.members) == set(json.loads((untrained / "manifest.json").read_text())["members"])
    assert (len(models.sagittal), len(models.axial)) == (1, 1)


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "a folder"])
def test_a_broken_member_is_left_out_with_its_reason(weights, how):
    damage(weights / f"{MEMBER}.safetensors", how)
    models, failed = load_models(weights, "cpu")
    assert set(failed) == {MEMBER}
    assert f"{MEMBER}.safetensors" in failed[MEMBER]
    assert set(models.members) == {"tiny_axial_t2", "tiny_sagittal_t2"}
    with pytest.raises(WeightsError):
        load_models(weights, "cpu", strict=True)


@pytest.mark.parametrize(
    "changes", [{"architecture": "no_such_net"}, {"architecture": ""}, {"in_chans": 3}, {"in_chans": -1}]
)
def test_a_member_that_cannot_be_built_is_left_out(weights, changes):
    rewrite(weights, **changes)
    models, failed = load_models(weights, "cpu")
    assert set(failed) == {MEMBER}
    assert len(models.members) == 2


def test_without_the_axial_localiser_the_sagittal_views_remain(weights):
    damage(weights / "axial.safetensors", "cut")
    models, failed = load_models(weights, "cpu")
    assert set(failed) == {"axial localiser"}
    assert models.axial == []
    assert len(models.members) == 3


def test_the_sagittal_localiser_cannot_be_left_out(weights):
    damage(weights / "sagittal.safetensors", "missing")
    with pytest.raises(WeightsError, match=r"sagittal\.safetensors"):
        load_models(weights, "cpu")


def _break_every_member(weights):
    for path in weights.glob("tiny_*.safetensors"):
        damage(path, "cut")


NOTHING_LEFT = {
    "no member": _break_every_member,
    "no localiser": lambda weights: damage(weights / "sagittal.safetensors", "missing"),
    "empty manifest": lambda weights: damage(weights / "manifest.json", "empty"),
    "cut manifest": lambda weights: damage(weights / "manifest.json", "cut"),
    "endless manifest": lambda weights: (weights / "manifest.json").write_text("[" * 100_000),
    "another manifest": lambda weights: (weights / "manifest.json").write_text('{"format_version": 99}'),
}


@pytest.mark.parametrize("what", NOTHING_LEFT)
def test_without_usable_weights_the_prior_is_written_and_the_report_gives_the_reason(weights, data, tmp_path, what):
    NOTHING_LEFT[what](weights)
    report = predict(Config(data=data, output=tmp_path / "out", weights=weights, workers=0, progress=False))
    assert (tmp_path / "out" / "submission.csv").read_text() == submission_text({"7": prior()})
    assert report.exit_code == EXIT_DEGRADED
    reasons = [*report.members_failed.values(), *(failure.message for failure in report.failures)]
    assert len(report.members_failed) == (3 if what == "no member" else 0)
    assert any("tiny_" in text or "sagittal.safetensors" in text or "manifest" in text for text in reasons)


def test_a_wheel_without_weights_leaves_the_prior(data, tmp_path, monkeypatch):
    monkeypatch.setattr("lumbar_kernel.models.manifest.weights_folder", lambda: tmp_path / "gone")
    report = predict(Config(data=data, output=tmp_path / "out", workers=0, progress=False))
    assert (tmp_path / "out" / "submission.csv").read_text() == submission_text({"7": prior()})
    assert report.exit_code == EXIT_DEGRADED
    assert "manifest" in report.failures[0].message


def test_nets_come_ready_for_use(untrained):
    manifest = read_manifest(untrained)
    nets = load_localiser(manifest.sagittal, untrained)
    nets += [net for spec in manifest.members for net in load_member(spec, untrained)]
    assert not any(net.training for net in nets)
    assert {parameter.dtype for net in nets for parameter in net.parameters()} == {torch.float32}


def test_batch_norms_are_folded_into_convolutions(untrained):
    models, _ = load_models(untrained, "cpu")
    nets = [*models.sagittal, *models.axial, *(net for nets in models.members.values() for net in nets)]
    assert not any(isinstance(module, nn.BatchNorm2d) for net in nets for module in net.modules())


class Doubling(nn.Module):
    """Uses the output of its convolution before and after the batch norm, which folding would spoil."""

    def __init__(self, *_, **__):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, pictures):
        x = self.convolution(pictures)
        return self.norm(x) - x


def test_a_network_that_folding_would_change_is_used_as_it_is(untrained, tmp_path, monkeypatch):
    expected = Doubling().eval()
    safetensors.torch.save_file(expected.state_dict(), tmp_path / "w.safetensors")
    file = WeightsFile("w.safetensors", sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest(), 0)
    monkeypatch.setattr("lumbar_kernel.models.checkpoints.HeatmapNet", Doubling)
    spec = replace(read_manifest(untrained).sagittal, files=(file, file))
    pictures = torch.randn(1, 1, 4, 4)
    for net in load_localiser(spec, tmp_path):
        assert torch.equal(net(pictures), expected(pictures))


def test_a_changed_byte_is_noticed(weights):
    spec = read_manifest(weights).members[0]
    raw = bytearray((weights / spec.files[0].file).read_bytes())
    raw[-1] ^= 1
    (weights / spec.files[0].file).write_bytes(raw)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_member(spec, weights)


def test_a_missing_file_is_named(weights):
    spec = read_manifest(weights).members[0]
    (weights / spec.files[0].file).unlink()
    with pytest.raises(WeightsError, match=spec.files[0].file):
        load_member(spec, weights)


def test_weights_of_another_architecture_are_refused(weights):
    rewrite(weights, architecture="mobilenetv3_small_075")
    spec = next(item for item in read_manifest(weights).members if item.name == MEMBER)
    with pytest.raises(WeightsError, match="architecture"):
        load_member(spec, weights)


def test_every_fold_is_folded_and_has_its_own_weights(untrained, tmp_path):
    spec = read_manifest(untrained).sagittal
    weights = safetensors.torch.load_file(untrained / spec.files[0].file)
    other = {name: value + 0.01 if value.is_floating_point() else value for name, value in weights.items()}
    safetensors.torch.save_file(other, tmp_path / "other")
    shutil.copy(untrained / spec.files[0].file, tmp_path)
    file = WeightsFile("other", sha256((tmp_path / "other").read_bytes()).hexdigest(), 1)
    pictures = torch.rand(1, 1, 64, 64)
    together = load_localiser(replace(spec, files=(spec.files[0], file)), tmp_path)
    assert not any(isinstance(module, nn.BatchNorm2d) for net in together for module in net.modules())
    for net, item in zip(together, (spec.files[0], file), strict=True):
        (alone,) = load_localiser(replace(spec, files=(item,)), tmp_path)
        assert torch.allclose(net(pictures), alone(pictures), atol=1e-4)
    assert not torch.allclose(*(net(pictures) for net in together), atol=1e-3)


def test_networks_that_a_lack_of_memory_sent_to_the_processor_come_back_where_there_is_memory_again():
    first, second, stays = (torch.nn.Conv2d(1, 1, 1) for _ in range(3))
    moves = []

    def move(device):
        moves.append(str(device))
        if len(moves) == 1:
            raise torch.cuda.OutOfMemoryError("still no memory")

    stays.to = move
    models = LoadedModels(None, torch.device("meta"), [first], [stays], {"member": [second]})
    models.return_to_device()
    assert [net.weight.device.type for net in (first, second)] == ["meta"] * 2
    assert moves == ["meta", "cpu"]
