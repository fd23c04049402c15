from training.studies import KINDS


def test_a_phantom_gives_every_kind_of_example(made):
    assert set(made) == set(KINDS)
    assert all(isinstance(examples, KINDS[name]) for name, examples in made.items())
    assert all(len(set(examples.fold)) == 1 for examples in made.values())
