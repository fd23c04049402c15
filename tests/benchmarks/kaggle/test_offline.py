from benchmarks.kaggle import offline


def test_the_wheel_only_environment_imports_the_wheel_and_not_the_checkout(wheel_only):
    assert offline.imported_from(wheel_only).startswith(str(wheel_only))


def test_the_wheel_only_environment_without_the_wheel_lacks_the_package(tmp_path):
    offline.make_environment(tmp_path / "environment")
    assert offline.imported_from(tmp_path / "environment") == ""


def test_neither_the_wheel_only_environment_nor_its_children_reach_the_network(wheel_only):
    offline.check_offline(wheel_only)
