import numpy as np
import pytest

from benchmarks.robustness import choices
from lumbar_kernel.results.metric import TERMS
from lumbar_kernel.schema import AXIAL_T2, SERIES_DESCRIPTIONS, prior

SEED = 4


@pytest.fixture(scope="module")
def axials():
    return choices.axial_ways(SEED)


def test_every_way_of_axials_is_what_it_says(axials):
    ways, truth = axials
    has_axials = {name: bool(study.slices(AXIAL_T2)) for name, study in ways.items()}
    assert [name for name, there in has_axials.items() if there] == ["volume and axial series", "slices, axial series"]
    assert [name for name, study in ways.items() if study.volume] == [
        "volume, axials reformatted",
        "volume, axials reformatted, thin sagittal slices",
    ]
    assert len(truth) == 25


def test_water_replaces_one_role_at_a_time():
    ways, _ = choices.dixon_ways(SEED)
    for role in SERIES_DESCRIPTIONS:
        same = [
            other
            for other in SERIES_DESCRIPTIONS
            if np.array_equal(
                ways[f"water as {role}"].slices(other)[0].pixels, ways["in phase"].slices(other)[0].pixels
            )
        ]
        assert same == [other for other in SERIES_DESCRIPTIONS if other != role]


def test_noise_takes_the_place_of_axial_slices_alone():
    ways, _ = choices.noise_ways(SEED)
    plain = ways["axial series"]
    for name, every in (("noise on every third axial slice", 3), ("noise on all axial slices", 1)):
        for role in SERIES_DESCRIPTIONS:
            pairs = zip(ways[name].slices(role), plain.slices(role), strict=True)
            same = [np.array_equal(one.pixels, other.pixels) for one, other in pairs]
            if role == AXIAL_T2:
                assert np.isclose(np.mean(same), 1 - 1 / every, atol=0.15)
            else:
                assert all(same)
    assert not ways["no axials"].slices(AXIAL_T2)


def test_losses_are_compared_study_by_study(monkeypatch, capsys):
    class Guesses:
        def grade(self, study):
            return type("Grades", (), {"probabilities": study})

    sure = np.tile([1 / 3, 1 / 3, 1 / 3], (25, 1))
    monkeypatch.setattr(choices, "Kernel", Guesses)
    monkeypatch.setitem(choices.WAYS, "axials", lambda seed: ({"thirds": sure, "prior too": prior()}, [0] * 25))
    found = choices.measure("axials", studies=3)
    assert np.array_equal(found["prior too"].losses, found["prior"].losses)
    choices.print_table(found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"| 3 phantoms | {' | '.join(TERMS)} |"
    assert lines[2].startswith("| thirds | 1.099 | 1.099 | 1.099 |")
    assert lines[3].replace("prior too", "prior") == lines[4]
