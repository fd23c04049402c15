import numpy as np
import pytest
import torch

from training import train_grader
from training.trainer import SOURCES, Trainer, example_files


def test_sources_choose_the_files(tmp_path):
    for name in ("axial", "phantom_axial"):
        (tmp_path / f"{name}.npz").touch()
    names = train_grader.TASKS["axial"].files
    chosen = {s: [path.stem for path in example_files(tmp_path, names, s)] for s in SOURCES}
    assert chosen == {"all": ["axial", "phantom_axial"], "real": ["axial"], "phantom": ["phantom_axial"]}
    with pytest.raises(FileNotFoundError, match="phantom_canal"):
        example_files(tmp_path, train_grader.TASKS["canal"].files, "phantom")


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


def test_a_part_of_the_model_is_compiled_and_its_average_is_not(tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3), torch.nn.Flatten())
    compiled = []
    model[0].compile = lambda: compiled.append(model[0])
    trainer = Trainer(model, tmp_path, steps=1, lr=0.1, compiled=model[0])
    assert compiled == [model[0]]
    assert trainer.average[0] is not model[0]
