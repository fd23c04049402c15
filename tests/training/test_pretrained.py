import pytest
import safetensors.torch
import timm
import torch

from lumbar_kernel.models.grade_net import GradeNet
from tests.conftest import BACKBONE
from training import pretrained
from training.pretrained import start_from_grader, start_from_pretrained


def test_backbones_without_weights_in_the_registry_are_refused():
    with pytest.raises(SystemExit, match="mobilenetv3_small_100"):
        pretrained.imagenet_state("mobilenetv3_small_100")


def test_imagenet_weights_reach_every_layer_of_the_encoder(monkeypatch):
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    given = [torch.rand_like(value.float()) for value in whole.state_dict().values()]
    monkeypatch.setattr(pretrained, "imagenet_state", lambda _: given)
    encoder = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True, in_chans=1)
    pretrained.start_from_imagenet(encoder, "tf_efficientnet_lite0")
    stem, *others = encoder.state_dict().values()
    assert torch.allclose(stem, given[0].sum(dim=1, keepdim=True))
    pairs = zip(others, given[1:], strict=False)  # the classifier comes last and has no place in the encoder
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs if mine.is_floating_point())


@pytest.mark.parametrize(("in_chans", "features_only"), [(1, False), (3, False), (1, True)])
def test_an_encoder_starts_from_any_timm_checkpoint(in_chans, features_only, tmp_path):
    torch.manual_seed(0)
    given = timm.create_model(BACKBONE, pretrained=False)
    safetensors.torch.save_file(given.state_dict(), tmp_path / "net.safetensors")
    shape = {"features_only": True} if features_only else {"num_classes": 0}
    encoder = timm.create_model(BACKBONE, pretrained=False, in_chans=in_chans, **shape)
    start_from_pretrained(
        encoder, BACKBONE, str(tmp_path / "net.safetensors"), in_chans=in_chans, features_only=features_only
    )
    stem = given.conv_stem.weight if in_chans == 3 else given.conv_stem.weight.sum(dim=1, keepdim=True)
    assert torch.allclose(next(iter(encoder.state_dict().values())), stem, atol=1e-6)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        start_from_pretrained(torch.nn.Identity(), BACKBONE, str(tmp_path / "nowhere"), in_chans=1)


def test_a_grader_starts_from_another_and_keeps_what_that_lacks(tmp_path):
    torch.manual_seed(0)
    old, new = (GradeNet(BACKBONE, in_chans=1, heads=1) for _ in range(2))
    state = {key: value for key, value in old.state_dict().items() if not key.startswith("pool.")}
    safetensors.torch.save_file(state, tmp_path / "old.safetensors")
    kept = new.pool.score[0].weight.clone()
    start_from_grader(new, tmp_path / "old.safetensors")
    assert torch.equal(new.classifier.weight, old.classifier.weight)
    assert torch.equal(new.pool.score[0].weight, kept)
    with pytest.raises(ValueError, match="does not fit"):
        start_from_grader(GradeNet(BACKBONE, in_chans=1, heads=2), tmp_path / "old.safetensors")
