import pytest
import timm

from lumbar_kernel.models.compact_cnn import COMPACT_CNN
from lumbar_kernel.schema import GROUPS
from lumbar_kernel.views import VIEWS
from training.presets import PRESETS
from training.train_grader import TASKS


@pytest.mark.parametrize("name", PRESETS)
def test_the_members_of_a_preset_grade_every_condition(name):
    weighted = set()
    for member in PRESETS[name].members:
        assert member.weight > 0
        weighted |= set(VIEWS[TASKS[member.task].view].groups)
    assert weighted == set(GROUPS)


@pytest.mark.parametrize("name", PRESETS)
def test_run_and_member_names_are_unique_and_backbones_exist(name):
    preset = PRESETS[name]
    runs = [run for network in preset.networks() for run in network.runs]
    assert len(set(runs)) == len(runs)
    assert len({member.member for member in preset.members}) == len(preset.members)
    assert all(timm.is_model(network.backbone) for network in preset.localisers)
    assert all(timm.is_model(network.backbone) or network.backbone == COMPACT_CNN for network in preset.members)
    assert {localiser.task for localiser in preset.localisers} == {"sagittal", "axial"}


def test_the_strong_preset_has_the_checkpoints_of_a_winner():
    assert 20 <= sum(len(member.folds) for member in PRESETS["strong"].members) <= 30
