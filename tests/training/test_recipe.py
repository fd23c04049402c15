import importlib
import json
import subprocess
import sys

import pytest

from lumbar_kernel.models.checkpoints import load_models
from lumbar_kernel.phantom import write_dataset
from training import recipe, runner
from training.examples import SOURCES
from training.presets import PRESETS

PACK_MODULES = {
    "evaluation.real_slices",
    *(f"training.{name}" for name in ("packs", "pack_crops", "marked_pictures", "disc_margins", "single_slice")),
}


def settings_of(*arguments):
    return recipe.parsed([str(argument) for argument in arguments])[0]


def names(settings):
    return [step.name for step in recipe.steps(settings)]


def test_each_source_of_data_brings_its_steps(tmp_path):
    common = ("--cache", tmp_path / "cache", "--runs", tmp_path / "runs")
    packs = names(settings_of("--packs", tmp_path, *common))
    whole = names(settings_of("--competition", tmp_path, "--phantoms", 0, *common))
    alone = names(settings_of("--preset", "smoke", *common))
    assert packs[:2] == ["prepare packs", "phantoms"]
    assert packs[-4:] == ["export", "calibrate", "evaluate", "model card"]
    assert packs.index("train axial_points_2") < packs.index("prepare axial crops") < packs.index("train axial_0")
    assert whole[0] == "prepare studies"
    assert whole[-4:] == ["export", "whole studies", "calibrate", "model card"]
    assert not {"prepare packs", "phantoms", "prepare axial crops"} & set(whole)
    assert alone[0] == "phantoms"
    assert alone[-2:] == ["export", "model card"]


def test_the_competitions_route_imports_no_module_that_knows_the_packs(tmp_path):
    steps = recipe.steps(settings_of("--competition", tmp_path))
    modules = sorted({"training.recipe", *(step.arguments[1] for step in steps)})
    code = f"import sys, {', '.join(modules)}; print(sorted({PACK_MODULES} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", PRESETS)
def test_every_network_of_a_preset_is_trained_once_for_each_of_its_folds(name, tmp_path):
    trained = [step for step in names(settings_of("--preset", name)) if step.startswith("train ")]
    assert trained == [f"train {run}" for network in PRESETS[name].networks() for run in network.runs]
    assert len(set(trained)) == len(trained)


def test_graders_learn_from_the_predictions_that_lie_beside_the_packs_or_are_named(tmp_path):
    def taught(*arguments):
        found = recipe.steps(settings_of("--packs", tmp_path, *arguments))
        return {step.name.removeprefix("train ")[:-2] for step in found if str(other) in step.arguments}

    other = tmp_path / "oof" / "other.csv"
    other.parent.mkdir()
    other.touch()
    assert taught() == {member.name for member in PRESETS["small"].members if member.taught}
    named = tmp_path / "named.csv"
    named.touch()
    assert not taught("--teachers", named)
    with pytest.raises(SystemExit):
        settings_of("--teachers", tmp_path / "none.csv")


def test_networks_learn_from_the_data_of_this_recipe_alone(tmp_path):
    def sources(*arguments):
        found = [step.arguments for step in recipe.steps(settings_of(*arguments)) if step.name.startswith("train ")]
        return {given[given.index("--sources") + 1 :][: len(SOURCES)] for given in found}

    for arguments, wanted in (
        (("--preset", "smoke"), ["phantoms"]),
        (("--competition", tmp_path, "--phantoms", 0), ["competition"]),
        (("--packs", tmp_path, "--competition", tmp_path), ["packs", "competition", "phantoms"]),
    ):
        for given in sources(*arguments):
            assert [item for item in given if item in SOURCES] == wanted


def test_studies_with_other_folds_in_packs_are_refused(tmp_path, capsys):
    (tmp_path / "sagittal_t1").mkdir()
    (tmp_path / "sagittal_t1" / "points.csv").write_text("study_id,fold,x\n1,2,0\n1,2,5\n7,0,0\n")
    both = ("--packs", tmp_path, "--competition", tmp_path)
    same, other = tmp_path / "same.csv", tmp_path / "other.csv"
    same.write_text("study_id,fold\n1,2\n7,0\n9,1\n")
    other.write_text("study_id,fold\n1,3\n7,0\n9,1\n")
    assert settings_of(*both, "--folds", same).folds == same
    for arguments, message in (((*both, "--folds", other), "1 has 2 and 3"), (both, "a table with the same ones")):
        with pytest.raises(SystemExit):
            settings_of(*arguments)
        assert message in capsys.readouterr().err


def test_changed_predictions_and_checkpoints_are_learnt(tmp_path):
    teacher, start = tmp_path / "other.csv", tmp_path / f"{PRESETS['smoke'].members[0].backbone}.safetensors"
    options = ("--preset", "smoke", "--teachers", teacher, "--checkpoints", tmp_path)

    def keys():
        return {step.name: key for step, key in runner._keys(list(recipe.steps(settings_of(*options)))).items()}

    teacher.write_text("a")
    start.write_text("a")
    before = keys()
    teacher.write_text("b")
    assert {name for name, key in keys().items() if before[name] == key} == {
        *(step for step in before if step.startswith(("phantoms", "train sagittal", "train axial_points")))
    }
    start.write_text("b")
    assert {name for name, key in keys().items() if before[name] == key} == {"phantoms"}


def test_studies_that_arrive_later_are_prepared(tmp_path):
    settings = settings_of("--preset", "smoke", "--competition", tmp_path)

    def waiting(studies):
        return runner.Runner(tmp_path / "done", ()).waiting(list(recipe.steps(settings, studies=studies)))

    for step, key in runner._keys(list(recipe.steps(settings, studies=3))).items():
        (tmp_path / "done").mkdir(exist_ok=True)
        runner.write_atomic(runner._done(step, key), runner.Runner(tmp_path / "done", ())._record(step))
    assert waiting(3) == []
    assert "prepare studies" in {step.name for step in waiting(4)}


def test_studies_of_packs_and_competition_share_their_folds(tmp_path):
    table = tmp_path / "rsna_tables" / "folds.csv"
    table.parent.mkdir()
    table.write_text("study_id,fold\n1,0\n")
    assert settings_of("--packs", tmp_path, "--competition", tmp_path).folds == table
    assert settings_of("--packs", tmp_path).folds is None
    other = tmp_path / "other.csv"
    other.touch()
    assert settings_of("--packs", tmp_path, "--competition", tmp_path, "--folds", other).folds == other


def test_some_folds_can_be_trained_alone():
    trained = [
        step for step in names(settings_of("--preset", "strong", "--train-folds", 3)) if step.startswith("train ")
    ]
    assert trained == [f"train {network.name}_3" for network in PRESETS["strong"].networks()]
    export = next(step for step in recipe.steps(settings_of("--train-folds", 0, 1)) if step.name == "export")
    assert export.arguments[-3:] == ("--folds", "0", "1")


def test_steps_can_be_made_smaller_but_not_larger():
    for most, sizes in ((8, {"8"}), (1000, {str(network.batch) for network in PRESETS["strong"].networks()})):
        found = list(recipe.steps(settings_of("--preset", "strong", "--batch", most)))
        trained = [step.arguments for step in found if step.name.startswith("train ")]
        assert {arguments[arguments.index("--batch") + 1] for arguments in trained} == sizes


def test_a_backbone_starts_from_its_checkpoint_where_the_owner_has_one(tmp_path):
    (tmp_path / "convnext_tiny.safetensors").touch()
    found = recipe.steps(settings_of("--preset", "strong", "--checkpoints", tmp_path))
    started = {step.name for step in found if "--pretrained" in step.arguments}
    assert started == {f"train {task}_convnext_{fold}" for task in ("foraminal", "axial", "canal") for fold in range(5)}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--preset", "smoke", "--phantoms", "0"),
        ("--packs", "nowhere"),
        ("--preset", "strong", "--packs", "."),
        ("--train-folds", "7"),
        ("--per-gpu", "0"),
    ],
)
def test_a_recipe_without_data_is_refused_before_anything_runs(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        recipe.parsed(list(arguments))
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_trial_is_not_timed_before_it_runs(monkeypatch):
    batches = set()
    monkeypatch.setattr(recipe, "training_seconds", lambda network, **_: batches.add(network.batch) or 60.0)
    for options, seconds in ((("--batch", 7), 60.0), (("--steps", 1), 0.0)):
        settings = settings_of("--preset", "smoke", *options)
        planned = recipe.with_estimates(settings, list(recipe.steps(settings)), studies=0, gpus=0)
        assert {step.seconds for step in planned if step.name.startswith("train ")} == {seconds}
    assert batches == {7}


@pytest.mark.parametrize(
    ("cores", "gpus", "each", "loaders"),
    [(2, 0, 1, None), (2, 0, 3, None), (16, 1, 1, "8"), (16, 4, 1, "3"), (2, 4, 1, "1"), (16, 2, 2, "3")],
)
def test_gpus_get_compiled_networks_and_processes_that_feed_them(cores, gpus, each, loaders, monkeypatch):
    monkeypatch.setattr(recipe, "visible_gpus", lambda: tuple("0123"[:gpus]))
    monkeypatch.setattr(recipe, "usable_cpus", lambda: cores)
    settings = settings_of("--preset", "strong", "--per-gpu", each)
    assert sorted(settings.gpus) == sorted("0123"[:gpus] * each)
    trained = [step.machine for step in recipe.steps(settings) if "train" in step.name]
    assert any("--compile" in arguments for arguments in trained) == bool(gpus)
    uncompiled = recipe.steps(settings_of("--preset", "strong", "--per-gpu", each, "--no-compile"))
    assert not any("--compile" in (*step.arguments, *step.machine) for step in uncompiled)
    for arguments in trained:
        given = arguments[arguments.index("--workers") + 1] if "--workers" in arguments else None
        assert given == loaders


@pytest.fixture
def in_this_process(monkeypatch):
    """Steps run here: in processes of their own, as `test_runner` has them, each would import torch for seconds."""

    def run(command, **_):
        assert command[:2] == [sys.executable, "-m"]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [command[2], *command[3:]])
            importlib.import_module(command[2]).main()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(runner.subprocess, "run", run)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.slow
def test_a_recipe_runs_from_the_competitions_folder_to_weights_and_scores(tmp_path, monkeypatch):
    data = tmp_path / "data"
    write_dataset(data, studies=3, seed=900, split="train")
    folds = "study_id,fold\n" + "".join(
        f"{path.name},{index % 2}\n" for index, path in enumerate(sorted((data / "train_images").iterdir()))
    )
    (data / "folds.csv").write_text(folds)
    runs = tmp_path / "runs"
    command = ["recipe", "--preset", "smoke", "--competition", data, "--folds", data / "folds.csv", "--steps", 1]
    command += ["--phantoms", 0, "--cache", tmp_path / "cache", "--runs", runs]
    monkeypatch.setattr(sys, "argv", [str(item) for item in command])
    recipe.main()
    models, failed = load_models(runs / "weights", "cpu", strict=True)
    assert not failed
    assert set(models.members) == {item.member for item in PRESETS["smoke"].members}
    scores = json.loads((runs / "weights" / "scores.json").read_text())
    assert 2 <= scores["studies"] <= 3  # a study with too few marked points is no example
    assert 0 < scores["canal"]["loss"] < 5
    assert "## Scores" in (runs / "weights" / "README.md").read_text()
