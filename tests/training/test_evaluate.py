"""Evaluation and calibration: figures on hand-worked cases, the whole command on small packs painted from phantoms."""

import json
import sys

import numpy as np
import pytest
import torch

from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.schema import CANAL, FORAMINAL, GROUPS, LABEL_COUNTS, LEVELS
from tests.pack_files import write_packs
from training import calibrate, evaluate, pack_crops, pretrained
from training.evaluation_metrics import (
    Graded,
    Located,
    Ranked,
    interval,
    location_figure,
    loss_figure,
    ranking_figure,
    reliability,
    yardstick,
)
from training.examples import GradeExamples
from training.member_predictions import Verdict
from training.predictions import Judges
from training.single_slice import sagittal_slice

SEEDS = range(40, 44)
LOSS_KEYS = {"loss", "prior", "low", "high", "n", "studies"}
PLACE_KEYS = {"within_2_percent", "within_3_percent", "within_6_percent", "right_level", "n", "studies"}


@pytest.fixture(scope="module")
def packs_folder(tmp_path_factory):
    data = tmp_path_factory.mktemp("packs")
    write_packs(data, seeds=SEEDS)
    return data


def graded_rows(n=400, *, sharpen=1.0):
    """Rows whose labels are drawn from known probabilities, and those probabilities told too sharply or not."""
    rng = np.random.default_rng(1)
    true = rng.dirichlet((4.0, 1.0, 0.6), n)
    labels = np.array([rng.choice(3, p=row) for row in true])
    told = true**sharpen / (true**sharpen).sum(axis=1, keepdims=True)
    study = np.arange(n) // 5
    row_id = np.array([f"{study[k]}_{CANAL}_{LEVELS[k % 5]}" for k in range(n)])
    return Graded(row_id, study.astype(str), (study % 4).astype(np.int8), labels.astype(np.int8), told)


def test_a_loss_figure_counts_rows_and_studies_and_brackets_its_loss():
    figure = loss_figure(graded_rows())
    assert set(figure) == LOSS_KEYS
    assert (figure["n"], figure["studies"]) == (400, 80)
    assert figure["low"] < figure["loss"] < figure["high"]
    assert figure["loss"] < figure["prior"]


def test_the_interval_draws_whole_studies():
    """A figure that is constant within studies varies like the mean of so many studies, not of so many rows."""
    value = np.repeat(np.random.default_rng(0).normal(size=50), 20)
    low, high = interval(np.repeat(np.arange(50).astype(str), 20), lambda rows: float(value[rows].mean()))
    assert 0.35 < high - low < 0.75


def test_location_shares_are_of_all_marks():
    distance = np.array([0.01, 0.025, 0.05, np.inf])
    figure = location_figure(Located(np.array(["a", "a", "b", "b"]), distance, np.array([True, True, True, False])))
    assert [figure[key] for key in figure] == [0.25, 0.5, 0.75, 0.75, 4, 2]


def test_reliability_counts_every_row_once_per_grade():
    table = reliability(graded_rows())
    for grade in ("normal_mild", "moderate", "severe"):
        assert sum(entry["n"] for entry in table if entry["grade"] == grade) == 400
    assert all(abs(entry["said"] - entry["happened"]) < 0.25 for entry in table if entry["n"] > 30)


def test_a_yardstick_is_taken_on_the_rows_it_holds():
    rows = graded_rows()
    assert yardstick(rows, {"nobody": np.ones(3) / 3}) is None
    others = {str(row): np.ones(3) / 3 for row in rows.row_id[:10]}
    assert yardstick(rows, others) == (pytest.approx(np.log(3)), 10)


def test_calibration_takes_back_what_a_member_overstates():
    sharp, honest = graded_rows(4000, sharpen=2.0), graded_rows(4000)
    weighted = np.array([1.0, 2.0, 4.0])
    temperature, bias = calibrate.fit(sharp)
    # The weighted loss wants the probabilities times the weights, so that is what the bias should say.
    assert temperature == pytest.approx(2.0, abs=0.25)
    assert bias == pytest.approx(np.log(weighted), abs=0.3)
    chosen = calibrate.calibrated({"canal": (CANAL, sharp), "foraminal": (FORAMINAL, honest)})
    assert chosen.temperature[GROUPS.index(CANAL)] != 1.0


def test_a_step_that_does_not_hold_is_dropped():
    ideal = graded_rows(400)
    weighted = ideal.probabilities * (1, 2, 4)
    rows = ideal.replace(weighted / weighted.sum(axis=1, keepdims=True))
    assert calibrate.calibrated({"canal": (CANAL, rows)}) == Calibration()


def test_only_checkpoints_that_left_a_fold_out_judge_it():
    judges = Judges(((0, "a"), (1, "b"), (1, "c")), out_of_fold=True)
    fold = np.array([0, 1, 2, 1], np.int8)
    said = {tuple(rows.tolist()): nets for rows, nets in judges.of_rows(fold)}
    assert said == {(0,): ["a"], (1, 3): ["b", "c"]}
    everyone = list(Judges(judges.nets, out_of_fold=False).of_rows(fold))
    assert [(rows.tolist(), nets) for rows, nets in everyone] == [([0, 1, 2, 3], ["a", "b", "c"])]


def test_only_boxed_levels_get_weak_grades_and_not_more_than_the_challenge_has(packs_folder):
    examples, boxed = pack_crops.boxed_canals(packs_folder)
    graded = pack_crops.canal(packs_folder)
    assert boxed.any()
    assert not boxed.all()
    assert (examples.labels == -1).all()
    assert set(graded.labels[~boxed, 0]) == {0}
    for level, counts in enumerate(LABEL_COUNTS[CANAL]):
        mine = graded.level == level
        assert (graded.labels[mine] > 0).sum() <= round(mine.sum() * sum(counts[1:]) / sum(counts)) + 1


def test_fluid_that_goes_dark_at_the_disc_is_missed():
    open_canal = np.full((144, 144), 20, np.uint8)
    open_canal[:, 62:82] = 220
    crowded = open_canal.copy()
    crowded[68:76, 62:82] = 60
    left = pack_crops.fluid_left(np.stack([open_canal, crowded]))
    assert left == pytest.approx([1, 60 / 220])


def test_ranking_is_within_levels():
    level = np.repeat([0, 1], 100).astype(np.int8)
    narrow = np.tile([False, True], 100)
    group = (np.arange(200) // 10).astype(str)
    told = Ranked(group, level, narrow, narrow + 10.0 * level)
    assert ranking_figure(told)["area"] == 1
    blind = Ranked(group, level, narrow, 1.0 * level)
    assert ranking_figure(blind)["area"] == 0.5


def test_a_squashed_picture_gets_its_shape_back():
    item = sagittal_slice(np.zeros((250, 250), np.uint8), rows=500, columns=250, field_mm=300)
    assert item.plane.row_spacing * 250 == pytest.approx(300)
    assert item.plane.column_spacing * 250 == pytest.approx(150)


def run_evaluate(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
    evaluate.main()


def test_the_command_measures_whatever_packs_are_there(packs_folder, trained, tmp_path, monkeypatch, capsys):
    run_evaluate(monkeypatch, packs_folder, "--phantoms", 0, "--json", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    for name in ("foraminal_marked", "foraminal_localised", "canal_axial", "subarticular_axial"):
        assert set(figures[name]) == LOSS_KEYS
    assert figures["foraminal_marked"]["n"] == 10 * len(SEEDS)
    for name in ("t1_localisation", "sudirman_sagittal", "sudirman_sagittal_t1", "tianchi_t2"):
        assert set(figures[name]) == PLACE_KEYS
    assert not {"spider_t2", "spider_midsagittal", "phantom"} & set(figures)
    # The pictures are phantoms, which the shipped weights know: they must find them, T2 slices by themselves in most.
    assert figures["t1_localisation"]["within_6_percent"] > 0.8
    assert figures["sudirman_sagittal_t1"]["within_6_percent"] > 0.8
    assert figures["sudirman_sagittal"]["within_6_percent"] > 0.6
    assert figures["foraminal_marked"]["loss"] < figures["foraminal_marked"]["prior"]
    assert 0 <= figures["canal_boxes"]["low"] <= figures["canal_boxes"]["area"] <= figures["canal_boxes"]["high"] <= 1
    assert "foraminal_localised" in capsys.readouterr().out


def test_out_of_fold_rows_are_those_of_the_folds_left_out(packs_folder, trained, tmp_path, monkeypatch):
    run_evaluate(monkeypatch, packs_folder, "--oof", "--phantoms", 0, "--json", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    members = [spec for spec in read_manifest(trained).members if spec.view == "sagittal_t1"]
    folds = {file.fold for spec in members for file in spec.files}
    assert figures["foraminal_marked"]["n"] == 10 * sum(seed % 4 in folds for seed in SEEDS)
    for spec in members:
        own = figures["members"][spec.name]["foraminal_marked"]
        assert own["n"] == 10 * sum(seed % 4 in {file.fold for file in spec.files} for seed in SEEDS)
        assert own["low"] <= own["loss"] <= own["high"]


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


def test_the_member_that_knows_gains_more_than_the_one_that_guesses():
    labels = np.array([0, 0, 0, 1, 2] * 20, np.int8)
    count = len(labels)
    examples = GradeExamples(
        images=np.zeros((count, 1, 2, 2), np.uint8),
        labels=labels[:, None],
        level=np.zeros(count, np.int8),
        row_id=np.array([[f"{k}_row"] for k in range(count)]),
        group=np.array([str(k) for k in range(count)]),
        fold=np.zeros(count, np.int8),
        source=np.full(count, "axial_t2_crops"),
    )
    knows = np.where(np.arange(3) == labels[:, None], 0.8, 0.1)[:, None]
    guesses = np.full((count, 1, 3), 1 / 3)
    verdict = Verdict("sagittal_t1", FORAMINAL, examples, {"knows": knows, "guesses": guesses})
    rises = calibrate.losses_without(verdict)
    assert rises["knows"] > 0.1 > 0 > rises["guesses"]


def test_boxes_that_leave_nothing_to_compare_have_no_area():
    level = np.arange(5, dtype=np.int8)
    rows = Ranked(np.array(["one"] * 5), level, level > 2, np.linspace(0, 1, 5))
    figure = ranking_figure(rows)
    assert np.isnan([figure["area"], figure["low"], figure["high"]]).all()
    assert figure["n"] == 5
