from lumbar_kernel.views import BASIC_VIEWS
from training.studies import kinds


def test_a_phantom_gives_every_kind_of_example(made):
    assert set(made) == set(kinds(BASIC_VIEWS))
    assert all(isinstance(examples, kinds(BASIC_VIEWS)[name]) for name, examples in made.items())
    assert all(len(set(examples.fold)) == 1 for examples in made.values())
