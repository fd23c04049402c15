from dataclasses import replace

import numpy as np

from training import train_landmarks
from training.examples import LandmarkExamples, load, save


def test_targets_are_distributions_with_absence_last():
    points = np.array([[10.0, 20.0], [np.nan, np.nan], [500.0, 3.0]])
    wanted = train_landmarks.targets(points, (64, 96), sigma=1.0)
    assert np.allclose(wanted.sum(axis=1), 1)
    assert wanted[:, -1].tolist() == [0, 1, 1]
    row, column = np.unravel_index(wanted[0, :-1].argmax(), (16, 24))
    assert abs(row * 4 + 1.5 - 10) <= 2
    assert abs(column * 4 + 1.5 - 20) <= 2


def test_landmark_examples_are_what_the_trainer_reads(made, tmp_path):
    save(made["axial_points"], tmp_path / "phantom_axial_points.npz")
    examples = load(tmp_path / "phantom_axial_points.npz", LandmarkExamples)
    assert isinstance(examples, LandmarkExamples)
    sampler = train_landmarks.Sampler(examples, train_landmarks.TASKS["axial"], fold=-1, batch=4, seed=0)
    pictures, wanted, known = sampler(0)
    assert pictures.shape == (4, 1, 128, 128)
    assert wanted.shape == (4, 2, 32 * 32 + 1)
    assert known.shape == (4, 2)


def test_pictures_without_anatomy_show_no_landmark_even_where_none_is_known(made):
    examples = replace(made["axial_points"], known=np.zeros_like(made["axial_points"].known))
    task = train_landmarks.TASKS["axial"]
    for empty, absent in ((1.0, 1.0), (0.0, 0.0)):
        sampler = train_landmarks.Sampler(examples, replace(task, without_anatomy=empty), fold=-1, batch=8, seed=0)
        _, wanted, known = sampler(0)
        assert known.float().mean() == absent
        assert (wanted[:, :, -1] == 1).all() == bool(absent)
