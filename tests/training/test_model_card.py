import json

import pytest

from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.results.metric import PARTS
from lumbar_kernel.schema import GROUPS
from tests.conftest import ROOT
from training.model_card import SCORES, card


@pytest.fixture
def weights(tmp_path):
    """The shipped weights, with scores."""
    for path in (ROOT / "weights").iterdir():
        if path.name != "README.md":
            (tmp_path / path.name).symlink_to(path)
    score = {"loss": 0.5, "prior": 0.7, "interval": [0.45, 0.55]}
    (tmp_path / SCORES).write_text(json.dumps(dict.fromkeys(PARTS, score) | {"studies": 7, "rows": 170}))
    return read_manifest(tmp_path)


def test_every_network_condition_and_score_has_its_row(weights, tmp_path):
    run = tmp_path / "runs" / "axial_0"
    run.mkdir(parents=True)
    settings = {"steps": "None", "epochs": "8.0", "batch": "64", "pretrained": "/somewhere/net.safetensors"}
    (run / "result.json").write_text(json.dumps({"settings": settings}))
    text = card(weights, tmp_path / "runs")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    named = {row[0].removeprefix("| ") for row in rows}
    assert {spec.name for spec in (weights.sagittal, weights.axial, *weights.members)} <= named
    assert {*GROUPS, *PARTS} <= named
    axial = next(row for row in rows if row[0] == "| axial_t2")
    assert axial[4:6] == ["8.0 epochs of 64", "net.safetensors"]
    assert "somewhere" not in text
    assert "0.500 (0.450 to 0.550) | 0.700" in text


def test_a_card_without_scores_and_runs_is_still_written(weights, tmp_path):
    (weights.folder / SCORES).unlink()
    assert "## Scores" not in card(weights, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({"start_run": "runs/other_0", "pretrained": "None"}, "other_0"),
        ({"start_weights": "/w/axial.safetensors", "pretrained": "package"}, "axial.safetensors"),
        ({"start_weights": "None", "pretrained": "package"}, "ImageNet"),
        ({"pretrained": "None"}, "random"),
    ],
)
def test_the_card_says_what_a_run_started_from(settings, start, weights, tmp_path):
    run = tmp_path / "runs" / "axial_0"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps({"settings": {"steps": "9", "batch": "64"} | settings}))
    row = next(line for line in card(weights, tmp_path / "runs").splitlines() if line.startswith("| axial_t2 |"))
    assert row.split(" | ")[5] == start
