from benchmarks.kaggle import offline


def test_the_thin_environment_imports_the_wheel_and_not_the_checkout(thin):
    assert offline.imported_from(thin).startswith(str(thin))


def test_the_thin_environment_without_the_wheel_lacks_the_package(tmp_path):
    offline.make_thin(tmp_path / "environment")
    assert offline.imported_from(tmp_path / "environment") == ""


def test_neither_the_thin_environment_nor_its_children_reach_the_network(thin):
    offline.check_offline(thin)
