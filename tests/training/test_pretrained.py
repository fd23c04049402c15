import pytest
import torch

from training import pretrained


def test_backbones_without_weights_in_the_registry_are_refused():
    with pytest.raises(SystemExit, match="mobilenetv3_small_100"):
        pretrained.imagenet_state("mobilenetv3_small_100")


def test_imagenet_weights_reach_every_layer_of_the_encoder(monkeypatch):
    import timm

    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    given = [torch.rand_like(value.float()) for value in whole.state_dict().values()]
    monkeypatch.setattr(pretrained, "imagenet_state", lambda _: given)
    encoder = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True, in_chans=1)
    pretrained.start_from_imagenet(encoder, "tf_efficientnet_lite0")
    stem, *others = encoder.state_dict().values()
    assert torch.allclose(stem, given[0].sum(dim=1, keepdim=True))
    pairs = zip(others, given[1:], strict=False)  # the classifier comes last and has no place in the encoder
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs if mine.is_floating_point())
