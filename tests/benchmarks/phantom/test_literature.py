import numpy as np

from benchmarks.phantom import literature, measurements


def drawn_quantities(rng, *, shift):
    """Quantities of one patient as the literature has them, all off by a share of its spread."""
    drawn = {}
    for expected in literature.MEANS:
        values = np.array(expected.mean) + (shift + rng.normal(size=len(expected.mean))) * expected.spread
        drawn[expected.name] = values[0] if expected.places == literature.WHOLE else values
    return drawn


def test_sizes_of_the_literature_pass_and_shifted_ones_fail():
    rng = np.random.default_rng(0)
    for shift, failing in ((0.0, False), (0.6, True)):
        section = literature.compare([drawn_quantities(rng, shift=shift) for _ in range(800)])
        means = [item for item in section.findings if item.passed is not None and item.what != "measured"]
        assert len(means) > literature.MIN_MEASURED
        assert all((item.passed is False) == failing for item in means), section.failed


def test_a_phantom_gives_sizes_and_names_those_it_lacks():
    section = literature.compare([measurements.geometry(index, seed=5).quantities for index in range(6)])
    by_name = {item.what: item for item in section.findings}
    assert 25 < by_name["margin step L4"].found < 45
    assert by_name["measured"].passed
    assert all("not exposed" in item.note for item in section.findings if np.isnan(item.found))
