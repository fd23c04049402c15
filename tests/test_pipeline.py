import dataclasses
import itertools

import numpy as np
import pytest
import torch

from lumbar_kernel import Config
from lumbar_kernel.budget import Budget
from lumbar_kernel.checkpoints import read_manifest
from lumbar_kernel.messages import Done, Ready, Update
from lumbar_kernel.pipeline import _first_pass, run
from lumbar_kernel.study import find_studies
from lumbar_kernel.tools import pick_device


class Clock:
    """Moves on by a fixed step whenever it is read."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def messages(dataset, trained, tmp_path, *, seconds=None, step=0.0, **options):
    config = Config(data=dataset, output=tmp_path, weights=trained, workers=0, progress=False, **options)
    said = []
    budget = Budget(seconds, reserve=0.0, clock=Clock(step))
    done = run(config, find_studies(dataset), budget=budget, emit=said.append)
    return [*said, done]


def test_messages_come_in_order_and_grades_only_gain_members(dataset, trained, tmp_path):
    said = messages(dataset, trained, tmp_path)
    assert isinstance(said[0], Ready)
    assert isinstance(said[-1], Done)
    assert said[-1].complete
    updates = [message for message in said if isinstance(message, Update)]
    for study in {update.report.study_id for update in updates}:
        members = [set(update.report.members) for update in updates if update.report.study_id == study]
        assert all(before <= after for before, after in itertools.pairwise(members))
        assert len(members[0]) >= 2


def test_every_update_is_a_valid_set_of_grades(dataset, trained, tmp_path):
    for message in messages(dataset, trained, tmp_path):
        if isinstance(message, Update):
            assert message.grades.shape == (25, 3)
            assert np.allclose(message.grades.sum(axis=1), 1)
            assert message.grades.min() >= 0


def test_without_time_nothing_is_read(dataset, trained, tmp_path):
    said = messages(dataset, trained, tmp_path, seconds=1, step=2)
    assert [type(message) for message in said] == [Ready, Done]
    assert not said[-1].complete


def test_more_time_never_gives_less(dataset, trained, tmp_path):
    runs = [messages(dataset, trained, tmp_path, seconds=seconds, step=4) for seconds in (12, 28, 400)]
    updates = [sum(isinstance(message, Update) for message in said) for said in runs]
    members = [len(said[-1].members) for said in runs]
    assert updates == sorted(updates)
    assert members == sorted(members)
    assert [said[-1].complete for said in runs][::2] == [False, True]
    assert members[0] < members[-1]


def test_the_first_pass_takes_the_heaviest_member_of_each_condition(untrained):
    members = list(read_manifest(untrained).members)
    names = {spec.name for spec in _first_pass(members)}
    assert names == {"tiny_axial_t2", "tiny_sagittal_t1"}
    light = [
        dataclasses.replace(m, ensemble_weight=(0.1,) * len(m.ensemble_weight)) if "axial" in m.name else m
        for m in members
    ]
    assert "tiny_sagittal_t2" in {spec.name for spec in _first_pass(light)}


def test_the_device_falls_back_to_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def broken(*_, **__):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(torch, "ones", broken)
    assert pick_device("auto") == torch.device("cpu")
    assert pick_device("cpu") == torch.device("cpu")


def test_strict_lets_the_first_exception_through(dataset, trained, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("lumbar_kernel.pipeline.cut_crops", broken)
    with pytest.raises(ZeroDivisionError):
        messages(dataset, trained, tmp_path, strict=True)
    said = messages(dataset, trained, tmp_path)
    failures = [f for m in said if isinstance(m, Update) for f in m.report.failures]
    assert {(f.stage, f.type) for f in failures} == {("crop", "ZeroDivisionError")}
