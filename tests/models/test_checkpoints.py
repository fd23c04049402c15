import json
import shutil

import pytest

from lumbar_kernel import Config, predict
from lumbar_kernel.errors import WeightsError
from lumbar_kernel.models.checkpoints import load_models
from lumbar_kernel.results.report import EXIT_DEGRADED
from lumbar_kernel.results.submission import submission_text
from lumbar_kernel.schema import prior
from tests.dicom_files import write_stack

MEMBER = "tiny_sagittal_t1"


@pytest.fixture
def weights(untrained, tmp_path):
    return shutil.copytree(untrained, tmp_path / "weights")


@pytest.fixture
def data(tmp_path):
    """One small study."""
    write_stack(tmp_path / "data" / "7" / "1", [(float(x), 0.0, 0.0) for x in (-4, 0, 4)], SeriesDescription="T1")
    return tmp_path / "data"


def config_of(weights, tmp_path, **options):
    return Config(data=tmp_path, output=tmp_path / "out", weights=weights, workers=0, progress=False, **options)


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


def test_everything_of_the_manifest_is_loaded(untrained, tmp_path):
    tools, failed = load_models(config_of(untrained, tmp_path), "cpu")
    assert failed == {}
    assert set(tools.members) == set(json.loads((untrained / "manifest.json").read_text())["members"])
    assert (len(tools.sagittal), len(tools.axial)) == (1, 1)


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "a folder"])
def test_a_broken_member_is_left_out_with_its_reason(weights, tmp_path, how):
    damage(weights / f"{MEMBER}.safetensors", how)
    tools, failed = load_models(config_of(weights, tmp_path), "cpu")
    assert set(failed) == {MEMBER}
    assert f"{MEMBER}.safetensors" in failed[MEMBER]
    assert set(tools.members) == {"tiny_axial_t2", "tiny_sagittal_t2"}
    with pytest.raises(WeightsError):
        load_models(config_of(weights, tmp_path, strict=True), "cpu")


@pytest.mark.parametrize(
    "changes", [{"architecture": "no_such_net"}, {"architecture": ""}, {"in_chans": 3}, {"in_chans": -1}]
)
def test_a_member_that_cannot_be_built_is_left_out(weights, tmp_path, changes):
    rewrite(weights, **changes)
    tools, failed = load_models(config_of(weights, tmp_path), "cpu")
    assert set(failed) == {MEMBER}
    assert len(tools.members) == 2


def test_without_the_axial_localiser_the_sagittal_views_remain(weights, tmp_path):
    damage(weights / "axial.safetensors", "cut")
    tools, failed = load_models(config_of(weights, tmp_path), "cpu")
    assert set(failed) == {"axial localiser"}
    assert tools.axial == []
    assert len(tools.members) == 3


def test_the_sagittal_localiser_cannot_be_left_out(weights, tmp_path):
    damage(weights / "sagittal.safetensors", "missing")
    with pytest.raises(WeightsError, match=r"sagittal\.safetensors"):
        load_models(config_of(weights, tmp_path), "cpu")


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
def test_where_nothing_can_grade_the_prior_stands_and_the_report_says_why(weights, data, tmp_path, what):
    NOTHING_LEFT[what](weights)
    report = predict(Config(data=data, output=tmp_path / "out", weights=weights, workers=0, progress=False))
    assert (tmp_path / "out" / "submission.csv").read_text() == submission_text({"7": prior()})
    assert report.exit_code == EXIT_DEGRADED
    told = [*report.members_failed.values(), *(failure.message for failure in report.failures)]
    assert len(report.members_failed) == (3 if what == "no member" else 0)
    assert any("tiny_" in text or "sagittal.safetensors" in text or "manifest" in text for text in told)


def test_a_wheel_without_weights_leaves_the_prior(data, tmp_path, monkeypatch):
    monkeypatch.setattr("lumbar_kernel.models.manifest.weights_folder", lambda: tmp_path / "gone")
    report = predict(Config(data=data, output=tmp_path / "out", workers=0, progress=False))
    assert (tmp_path / "out" / "submission.csv").read_text() == submission_text({"7": prior()})
    assert report.exit_code == EXIT_DEGRADED
    assert "manifest" in report.failures[0].message
