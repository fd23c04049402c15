from lumbar_kernel.phantom import tissue


def values_of_module():
    return {name: value for name, value in vars(tissue).items() if name.isupper() and isinstance(value, int)}


def test_every_tissue_has_a_number_of_its_own_that_fits_the_tables():
    ids = {name: value for name, value in values_of_module().items() if name != "N_IDS"}
    discs = {
        f"{name}{disc}": tissue.__dict__[name] + disc for name in ("ANNULUS", "INNER", "NUCLEUS") for disc in range(10)
    }
    others = {name: value for name, value in ids.items() if name not in {"ANNULUS", "INNER", "NUCLEUS"}}
    everything = list(others.values()) + list(discs.values())
    assert len(everything) == len(set(everything))
    assert max(everything) < tissue.N_IDS <= 256


def test_all_but_discs_and_nothing_have_relaxation_times():
    without = {"OUTSIDE", "ANNULUS", "INNER", "NUCLEUS", "N_IDS"}
    ids = {value for name, value in values_of_module().items() if name not in without}
    assert ids == set(tissue.TABLE)


def test_relaxation_is_physical():
    for relaxation in (*tissue.TABLE.values(), tissue.PURE_FAT):
        assert 0 <= relaxation.density <= 1
        assert 0 <= relaxation.fat <= 1
        assert 0 < relaxation.t2 < relaxation.t1
