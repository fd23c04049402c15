"""What the tests of this folder share."""

import pytest

from benchmarks.kaggle import offline


@pytest.fixture(scope="module")
def thin(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thin") / "environment"
    offline.install(folder, wheel)
    return folder
