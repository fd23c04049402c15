import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training.examples import SOURCES
from training.run_results import is_finished
from training.trainer import Trainer, example_files, identity_of, run_parser, train


def test_sources_choose_the_files(tmp_path):
    for name in ("axial", "phantom_axial"):
        (tmp_path / f"{name}.npz").touch()
    assert [path.stem for path in example_files(tmp_path, "axial", SOURCES)] == ["axial", "phantom_axial"]
    for source, stem in (("packs", "axial"), ("phantoms", "phantom_axial")):
        assert [path.stem for path in example_files(tmp_path, "axial", [source])] == [stem]
    with pytest.raises(FileNotFoundError, match="rsna_axial"):
        example_files(tmp_path, "axial", ["competition"])


def test_an_interrupted_run_continues_where_it_stopped(tmp_path):
    def trainer(run):
        torch.manual_seed(0)
        return Trainer(torch.nn.Conv2d(1, 1, 3), tmp_path / run, steps=6, lr=0.1, save_every=3)

    def batch(step):
        return (torch.from_numpy(np.random.default_rng(step).random((2, 1, 8, 8), dtype=np.float32)),)

    def loss(model, tensors):
        return model(*tensors).square().mean()

    def stop_at_four(step):
        if step == 4:
            raise KeyboardInterrupt
        return batch(step)

    options = {"measure": lambda m: {"weight": float(m.weight.detach().sum())}, "measure_every": 6}
    whole = trainer("whole").fit(batch, loss, **options)
    with pytest.raises(KeyboardInterrupt):
        trainer("torn").fit(stop_at_four, loss, **options)
    resumed = trainer("torn")
    assert resumed.step == 3
    assert resumed.fit(batch, loss, **options)["weight"] == pytest.approx(whole["weight"], rel=1e-5)


def test_another_run_is_not_continued(tmp_path, caplog):
    def trainer(**changes):
        options = {"steps": 4, "lr": 0.1, "identity": {"backbone": "a", "examples": "1"}} | changes
        return Trainer(torch.nn.Conv2d(1, 1, 3), tmp_path, **options)

    first = trainer()
    first.step = 3
    first.save()
    assert trainer().step == 3
    for changes, named in (({"steps": 5}, "steps"), ({"identity": {"backbone": "b", "examples": "1"}}, "backbone")):
        caplog.clear()
        assert trainer(**changes).step == 0
        assert f"a run with other {named}, starting" in caplog.text


def test_a_run_is_known_by_its_settings_and_what_it_learns_from_not_by_how_fast():
    def identity(*options, images=(1, 2)):
        parser = run_parser(None, ["sagittal"], batch=8)
        arguments = parser.parse_args(["sagittal", "cache", "run", "--steps", "3", *options])
        return identity_of(arguments, np.array(images), np.array(["study"]))

    assert identity() == identity("--workers", "4", "--compile")
    assert identity() != identity("--lr", "0.5")
    assert identity() != identity(images=(1, 3))


def test_a_run_that_is_trained_again_is_not_finished_before_its_end(tmp_path):
    def run(steps, *, interrupted=False):
        def batch(_):
            if interrupted:
                raise KeyboardInterrupt
            return (torch.ones(1, 1, 8, 8),)

        def loss(model, tensors):
            return model(*tensors).square().mean()

        model = torch.nn.Conv2d(1, 1, 3)
        arguments = run_parser(None, ["axial"], batch=8).parse_args(["axial", "cache", str(tmp_path), "--steps", steps])
        train(model, arguments, batch, loss, examples=1, data=(), measure=lambda _: {"loss": 1.0}, compiled=model)

    run("2")
    assert is_finished(tmp_path)
    run("2", interrupted=True)  # nothing is left to do
    assert is_finished(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run("3", interrupted=True)
    assert not is_finished(tmp_path)


def test_a_run_that_began_on_a_processor_can_be_continued_on_a_gpu(tmp_path, monkeypatch):
    options = {"steps": 4, "lr": 0.1}
    Trainer(torch.nn.Conv2d(1, 1, 3), tmp_path, **options).save()
    enabled = torch.amp.GradScaler("cpu", enabled=True)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *_, **__: enabled)
    assert Trainer(torch.nn.Conv2d(1, 1, 3), tmp_path, **options).scaler is enabled


@pytest.mark.parametrize("steps", range(1, 13))
def test_a_run_may_have_any_number_of_steps(steps, tmp_path):
    trainer = Trainer(torch.nn.Conv2d(1, 1, 3), tmp_path, steps=steps, lr=0.1)
    trainer.fit(
        lambda step: (torch.ones(1, 1, 4, 4),),
        lambda model, tensors: model(*tensors).square().mean(),
        measure=lambda _: {},
        measure_every=steps,
    )
    assert trainer.step == steps


def test_a_part_of_the_model_is_compiled_and_its_average_is_not(tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3), torch.nn.Flatten())
    compiled = []
    model[0].compile = lambda: compiled.append(model[0])
    trainer = Trainer(model, tmp_path, steps=1, lr=0.1, compiled=model[0])
    assert compiled == [model[0]]
    assert trainer.average[0] is not model[0]


def test_an_interrupted_run_continues_with_the_same_dropout(tmp_path):
    def trainer(run):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Conv2d(1, 1, 3))
        return Trainer(model, tmp_path / run, steps=6, lr=0.1, seed=1, save_every=3)

    def stop_at_four(step):
        if step == 4:
            raise KeyboardInterrupt
        return (torch.ones(2, 1, 8, 8),)

    def loss(model, tensors):
        return model(*tensors).square().mean()

    def weight(model):
        return {"weight": float(model[1].weight.detach().sum())}

    options = {"measure": weight, "measure_every": 6}
    whole = trainer("whole").fit(lambda _: (torch.ones(2, 1, 8, 8),), loss, **options)
    with pytest.raises(KeyboardInterrupt):
        trainer("torn").fit(stop_at_four, loss, **options)
    torn = trainer("torn").fit(lambda _: (torch.ones(2, 1, 8, 8),), loss, **options)
    assert torn["weight"] == pytest.approx(whole["weight"], rel=1e-6)


def test_a_run_is_another_one_when_the_file_that_it_starts_from_has_changed(tmp_path):
    def identity():
        parser = run_parser(None, ["sagittal"], batch=8)
        parser.add_argument("--start-run", type=Path)
        command = ["sagittal", "cache", "run", "--steps", "3", "--pretrained", str(file), "--start-run", str(tmp_path)]
        return identity_of(parser.parse_args(command))

    file, checkpoint = tmp_path / "net.safetensors", tmp_path / "last.pt"
    file.write_bytes(b"1")
    checkpoint.write_bytes(b"1")
    first = identity()
    assert identity() == first
    file.write_bytes(b"2")
    second = identity()
    assert {name for name in first if first[name] != second[name]} == {"pretrained"}
    checkpoint.write_bytes(b"2")
    assert {name for name in first if second[name] != identity()[name]} == {"start_run"}


def test_the_log_holds_the_measurements_of_one_run(tmp_path):
    def run(*, steps=6, stop=None, **identity):
        def batch(step):
            if step == stop:
                raise KeyboardInterrupt
            return (torch.ones(1, 1, 8, 8),)

        trainer = Trainer(torch.nn.Conv2d(1, 1, 3), tmp_path, steps=steps, lr=0.1, identity=identity, save_every=4)
        trainer.fit(batch, lambda net, made: net(*made).square().mean(), measure=lambda _: {}, measure_every=1)

    def logged():
        return [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    with pytest.raises(KeyboardInterrupt):
        run(stop=5, backbone="a")
    assert logged() == [1, 2, 3, 4, 5]
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')  # cut off by a kill
    run(backbone="a")
    assert logged() == [1, 2, 3, 4, 5, 6]
    run(steps=3, backbone="b")
    assert logged() == [1, 2, 3]


def test_the_commands_that_write_absent_examples_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training\.competition"):
        example_files(tmp_path, "axial", SOURCES)
