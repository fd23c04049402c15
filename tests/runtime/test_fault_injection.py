import numpy as np
import pytest

from lumbar_kernel.runtime.fault_injection import KINDS, VARIABLE, with_injected_faults


@pytest.fixture
def inject(monkeypatch):
    """Sets the faults that the environment requests."""
    return lambda faults: monkeypatch.setenv(VARIABLE, faults)


def ones():
    return {"grades": np.ones(3), "names": ["a"]}


def test_without_the_variable_nothing_happens(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert with_injected_faults("crop", ["7"], ones)["grades"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("faults", "stage", "studies", "hit"),
    [
        ("crop:raise:7", "crop", ["7"], True),
        ("crop:raise:7", "crop", ["8"], False),
        ("crop:raise:7", "axial", ["7"], False),
        ("crop:raise:7", "crop", ["8", "7"], True),
        ("grade *:raise:*", "grade axial_t2", ["8"], True),
        ("read:raise:*", "read", [], True),
        ("read:raise:7", "read", [], False),
        ("axial:raise:1;crop:raise:7", "crop", ["7"], True),
    ],
)
def test_faults_hit_the_stages_and_studies_that_match_their_patterns(inject, faults, stage, studies, hit):
    inject(faults)
    if hit:
        with pytest.raises(RuntimeError, match="on purpose"):
            with_injected_faults(stage, studies, ones)
    else:
        assert with_injected_faults(stage, studies, ones)["grades"].tolist() == [1, 1, 1]


def test_nan_replaces_every_number_of_the_result(inject):
    inject("crop:nan:*")
    result = with_injected_faults("crop", ["7"], ones)
    assert np.isnan(result["grades"]).all()
    assert result["names"] == ["a"]


def test_the_kinds_that_the_documentation_names_exist():
    assert set(KINDS) == {"raise", "hang", "memory", "cuda_memory", "kill"}
