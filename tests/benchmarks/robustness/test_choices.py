import numpy as np
import pytest

from benchmarks.robustness import choices
from lumbar_kernel.phantom import make_phantom
from lumbar_kernel.results.metric import TERMS
from lumbar_kernel.schema import AXIAL_T2, SERIES_DESCRIPTIONS, prior

SEED = 4


@pytest.fixture(scope="module", autouse=True)
def _plain_phantom_is_made_once():
    """All ways begin with the same one, which takes a second or two."""
    plain = {"study_id": "1", "balanced": True}
    made = make_phantom(SEED, **plain)

    def made_once(seed, **options):
        return made if (seed, options) == (SEED, plain) else make_phantom(seed, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choices, "make_phantom", made_once)
        yield


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


def test_noise_takes_the_place_of_slices_of_one_role():
    ways, _ = choices.noise_ways(SEED)
    plain = ways["as scanned"]
    for lost in SERIES_DESCRIPTIONS:
        assert not ways[f"no {lost}"].slices(lost)
        for name, share in (("every third slice", 1 / 3), ("all slices", 1.0)):
            study = ways[f"noise on {name} of {lost}"]
            for role in SERIES_DESCRIPTIONS:
                pairs = zip(study.slices(role), plain.slices(role), strict=True)
                same = np.mean([np.array_equal(one.pixels, other.pixels) for one, other in pairs])
                assert same == 1 if role != lost else np.isclose(same, 1 - share, atol=0.15)


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
