import os

from lumbar_kernel.processes import process_pool, spawn_context


def test_the_pool_runs_its_work_in_other_processes_in_order():
    with process_pool(2) as pool:
        assert list(pool.map(abs, range(-3, 3))) == [3, 2, 1, 0, 1, 2]
        assert pool.submit(os.getpid).result() != os.getpid()


def test_processes_are_spawned_never_forked():
    assert spawn_context().get_start_method() == "spawn"
