import json
import shutil
import sys

import numpy as np
import pytest

from evaluation.array_rows import select
from evaluation.constant_grades import constant_submission
from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.results.metric import score, weighted_log_loss
from lumbar_kernel.schema import CANAL, FORAMINAL, ROWS, prior
from training import calibrate_studies, manifest_entries
from training.calibrate_studies import fit_condition, fit_weights, fitted_entry, rows_of
from training.fitting import UNCHANGED, Trial, shifted
from training.whole_studies import StudyPredictions


def predictions(members, *, studies=60, seed=0):
    """Studies whose grades follow known probabilities, and members that give these blurred, sharpened or unchanged."""
    rng = np.random.default_rng(seed)
    found, solution = [], {}
    for index in range(studies):
        true = rng.dirichlet((4, 1, 1), len(ROWS))
        own = {name: change(true, rng) for name, change in members.items()}
        found.append(StudyPredictions(str(index), index % 4, np.ones(len(ROWS)), own))
        for row, shares in zip(ROWS, true, strict=True):
            solution[f"{index}_{row}"] = int(rng.choice(3, p=shares))
    return found, solution


def unchanged(true, _):
    return true


def noise(true, rng):
    return rng.dirichlet((1, 1, 1), len(true))


def too_sure(true, _):
    return true**2.5 / (true**2.5).sum(axis=1, keepdims=True)


def test_the_member_that_knows_gets_the_weight():
    found, solution = predictions({"good": unchanged, "noise": noise})
    weights = fit_weights(rows_of(found, solution, ["good", "noise"], FORAMINAL))
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.75


def test_a_row_that_a_member_does_not_grade_belongs_to_the_others():
    found, solution = predictions({"one": unchanged, "two": unchanged}, studies=2)
    found[0].predictions["two"][:] = np.nan
    rows = rows_of(found, solution, ["one", "two"], CANAL)
    combined = rows.combined(np.array([0.1, 0.9]))
    assert combined.sum(axis=1) == pytest.approx(1)
    assert combined[rows.study == 0] == pytest.approx(found[0].predictions["one"][rows.row[rows.study == 0]])


def test_steps_are_kept_only_where_they_help_other_folds():
    equal = np.array([1.0])
    found, solution = predictions({"sure": too_sure}, studies=120)
    rows = rows_of(found, solution, ["sure"], FORAMINAL)
    fitted = fit_condition(rows, FORAMINAL, equal)[0](rows)
    assert fitted.shift[0] > 1.5  # flattened
    flatter = shifted(FORAMINAL, rows.combined(fitted.weights), fitted.shift)
    assert weighted_log_loss(rows.labels, flatter) < weighted_log_loss(rows.labels, rows.combined(equal)) - 0.01
    one_fold = select(rows, rows.fold == 0)
    assert fit_condition(one_fold, FORAMINAL, equal)[0](one_fold).shift == UNCHANGED


def test_a_member_gains_what_is_lost_without_it():
    found, solution = predictions({"good": unchanged, "noise": noise, "alone": unchanged})
    for item in found[:30]:
        item.predictions["good"] = item.predictions["noise"] = np.full((len(ROWS), 3), np.nan)
    rows = rows_of(found, solution, ["good", "noise", "alone"], FORAMINAL)
    good, noisy, alone = calibrate_studies.losses_without(rows, np.array([0.4, 0.2, 0.4]))
    assert alone > max(good, noisy)
    assert good > 0
    assert np.isfinite(alone)


def test_the_manifest_gets_what_was_fitted_and_the_score_is_cross_fitted(trained, capsys):
    manifest = read_manifest(trained)
    members = {spec.name: noise if "lite" in spec.name else unchanged for spec in manifest.members}
    found, solution = predictions(members, studies=80)
    entry, metrics = fitted_entry(manifest, found, solution)
    for name, item in entry["members"].items():
        twin = entry["members"].get(f"{name}_lite")
        for group, weight in (twin or {"ensemble_weight": {}})["ensemble_weight"].items():
            assert item["ensemble_weight"][group] > weight
    gains = {name: item["gain"] for name, item in entry["members"].items()}
    assert gains["canal_t2"] > 0
    assert max(gains, key=gains.__getitem__) in [name for name in members if members[name] is unchanged]
    Calibration.from_dict(entry["calibration"])
    assert metrics["mean"]["loss"] < metrics["mean"]["prior"]
    assert metrics["canal"]["prior"] == pytest.approx(score(solution, constant_submission(solution)).canal)
    assert "out of fold, 80 studies" in capsys.readouterr().out


def test_studies_without_levels_are_scored_with_the_prior(trained):
    found, solution = predictions({"good": unchanged}, studies=4)
    lost = [StudyPredictions(item.study_id, item.fold, np.zeros(25), {}) for item in found]
    _, metrics = fitted_entry(read_manifest(trained), lost, solution)
    for part in ("canal", "foraminal", "subarticular"):
        assert metrics[part]["loss"] == pytest.approx(metrics[part]["prior"])


def test_the_command_writes_manifest_and_scores_beside_each_other(untrained, tmp_path, monkeypatch):
    weights = shutil.copytree(untrained, tmp_path / "weights")
    manifest = read_manifest(weights)
    found, solution = predictions({spec.name: unchanged for spec in manifest.members}, studies=12)
    kept = tmp_path / "out" / calibrate_studies.weights_key(manifest)
    kept.mkdir(parents=True)
    for item in found:
        item.save(kept)
    monkeypatch.setattr(calibrate_studies, "load_solution", lambda path: solution)
    monkeypatch.setattr(sys, "argv", ["calibrate_studies", str(tmp_path), str(weights), str(tmp_path / "out")])
    calibrate_studies.main()
    assert json.loads((weights / "scores.json").read_text())["rows"] == 25 * 12
    assert read_manifest(weights).sha256 != manifest.sha256
    assert calibrate_studies.weights_key(read_manifest(weights)) == calibrate_studies.weights_key(manifest)


def test_a_second_calibration_starts_from_the_same_weights(trained, tmp_path):
    weights = shutil.copytree(trained, tmp_path / "weights")
    names = [spec.name for spec in read_manifest(weights).members]
    found, solution = predictions({name: noise if "lite" in name else too_sure for name in names}, studies=40)
    runs = []
    for _ in range(2):
        entry, metrics = fitted_entry(read_manifest(weights), found, solution)
        manifest_entries.write(weights, entry)
        runs.append((entry, metrics))
    assert runs[0] == runs[1]


def test_a_member_that_got_no_weight_is_tried_again(trained, tmp_path):
    weights = shutil.copytree(trained, tmp_path / "weights")
    entry = manifest_entries.read(weights)
    name = next(name for name, item in entry["members"].items() if FORAMINAL in item["ensemble_weight"])
    item = entry["members"][name]
    item["initial_weight"], item["ensemble_weight"] = item["ensemble_weight"], {FORAMINAL: 0.0}
    manifest_entries.write(weights, entry)
    manifest = read_manifest(weights)
    members = {spec.name: unchanged if spec.name == name else noise for spec in manifest.members}
    again, _ = fitted_entry(manifest, *predictions(members, studies=40))
    assert again["members"][name]["ensemble_weight"][FORAMINAL] > 0.5


def test_the_scored_study_maximum_factor_has_not_seen_the_fold(trained, monkeypatch):
    """Each fold wants another factor: what is best for all would be scored better than what the others choose."""
    found, solution = predictions({"good": unchanged}, studies=80)
    wanted = {0: 1.1, 1: 1.5, 2: 2.0, 3: 3.0}
    monkeypatch.setattr(calibrate_studies, "best_factor", lambda *_: (Trial(1.0, 0.5), 2.0))
    monkeypatch.setattr(calibrate_studies, "factor_of_others", lambda terms, folds, fold: wanted[fold])
    entry, metrics = fitted_entry(read_manifest(trained), found, solution)
    assert entry["calibration"]["max_severe_factor"] == 2.0
    grades = np.tile(prior(), (len(found), 1, 1))
    held_out = score(solution, calibrate_studies.submission_of(found, grades, wanted))
    assert metrics["any_severe"]["loss"] == pytest.approx(held_out.any_severe)
