"""What the tests of this folder share."""

import pytest

from benchmarks.kaggle import offline


@pytest.fixture(scope="module")
def wheel_only(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel_only") / "environment"
    offline.install(folder, wheel)
    return folder
