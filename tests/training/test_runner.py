import pytest

from training import runner
from training.runner import Runner, Step


def counting(path, *, status=0):
    return ("-c", f"import sys; open({str(path)!r}, 'a').write('x'); sys.exit({status})")


def test_a_finished_step_is_not_repeated_until_its_arguments_change(tmp_path):
    count = tmp_path / "count"
    step = Step("train it", counting(count), group="a")
    Runner(tmp_path / "done", ()).run([step])
    Runner(tmp_path / "done", ()).run([step])
    assert count.read_text() == "x"
    Runner(tmp_path / "done", ()).run([Step("train it", (*counting(count), "again"), group="a")])
    assert count.read_text() == "xx"


def test_a_step_is_repeated_when_a_table_that_it_reads_has_changed(tmp_path):
    table = tmp_path / "train.csv"
    table.write_text("1,Severe\n")
    steps = [
        Step("prepare", counting(tmp_path / "prepare"), group="a", tables=(table,)),
        Step("train", counting(tmp_path / "train"), group="b"),
    ]
    Runner(tmp_path / "done", ()).run(steps)
    assert Runner(tmp_path / "done", ()).waiting(steps) == []
    table.write_text("1,Moderate\n")
    assert Runner(tmp_path / "done", ()).waiting(steps) == steps


def test_steps_after_one_that_ran_again_run_again(tmp_path):
    def recipe(length, *members):
        train = [Step(f"train {name}", (*counting(tmp_path / name), length), group="train") for name in members]
        return [
            Step("prepare", counting(tmp_path / "prepare"), group="prepare"),
            *train,
            Step("export", counting(tmp_path / "export"), group="export"),
        ]

    def counts(*names):
        return [len((tmp_path / name).read_text()) for name in names]

    runner = Runner(tmp_path / "done", ())
    runner.run(recipe("short", "a"))
    runner.run(recipe("long", "a"))
    assert counts("prepare", "a", "export") == [1, 2, 2]
    runner.run(recipe("long", "b", "a"))
    assert counts("prepare", "a", "b", "export") == [1, 2, 1, 3]
    runner.run(recipe("long", "b", "a"))
    assert counts("prepare", "a", "b", "export") == [1, 2, 1, 3]
    assert runner.waiting(recipe("long", "b", "a")) == []
    runner.run(recipe("long", "a"))  # without b, whose weights were exported
    assert counts("prepare", "a", "b", "export") == [1, 2, 1, 4]
    next(runner.done.glob("*prepare*")).unlink()  # to have it done again
    runner.run(recipe("long", "a"))
    assert counts("prepare", "a", "b", "export") == [2, 3, 1, 5]


def test_what_an_interruption_kept_from_running_again_is_not_done(tmp_path):
    def recipe(status):
        return [
            Step("train", counting(tmp_path / "train", status=status), group="train"),
            Step("export", counting(tmp_path / "export"), group="export"),
        ]

    runner = Runner(tmp_path / "done", ())
    runner.run(recipe(0))
    with pytest.raises(SystemExit):
        runner.run(recipe(1))
    assert [step.name for step in runner.waiting(recipe(0))] == ["train", "export"]


def test_how_fast_a_step_runs_does_not_make_it_another_one(tmp_path):
    count = tmp_path / "count"
    for workers in ("2", "8"):
        Runner(tmp_path / "done", ()).run([Step("train", counting(count), group="a", machine=("--workers", workers))])
    assert count.read_text() == "x"


def test_a_failed_step_ends_the_recipe_and_is_repeated(tmp_path):
    count = tmp_path / "count"
    steps = [Step("bad", counting(count, status=3), group="a"), Step("next", counting(tmp_path / "next"), group="b")]
    for _ in range(2):
        with pytest.raises(SystemExit, match="bad failed with exit status 3"):
            Runner(tmp_path / "done", ()).run(steps)
    assert count.read_text() == "xx"
    assert not (tmp_path / "next").exists()


def test_steps_of_one_group_share_the_gpus(tmp_path):
    write = "import os, sys; open(sys.argv[1], 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    steps = [Step(f"train {k}", ("-c", write, str(tmp_path / f"gpu{k}")), group="train") for k in range(4)]
    Runner(tmp_path / "done", ("4", "7")).run(steps)
    assert {(tmp_path / f"gpu{k}").read_text() for k in range(4)} <= {"4", "7"}


def test_steps_that_made_examples_of_another_layout_run_again(tmp_path, monkeypatch):
    count = tmp_path / "count"
    for seen in ("one", "one", "two", "one"):
        monkeypatch.setattr(runner, "layout", lambda seen=seen: seen)
        Runner(tmp_path / "done", ()).run([Step("prepare", counting(count), group="a")])
    assert count.read_text() == "xxx"


def test_a_record_that_was_cut_off_is_no_finished_step(tmp_path):
    step = Step("train", counting(tmp_path / "count"), group="a")
    runner = Runner(tmp_path / "done", ())
    runner.run([step])
    record = tmp_path / "done" / "train.json"
    record.write_text(record.read_text()[:20])
    assert runner.waiting([step]) == [step]
    runner.run([step])
    assert not runner.waiting([step])


def test_a_step_is_repeated_when_there_is_more_to_read(tmp_path):
    runner = Runner(tmp_path / "done", ())
    few, more = (Step("prepare", counting(tmp_path / "count"), group="a", counts=(there,)) for there in ("2", "3"))
    runner.run([few])
    assert not runner.waiting([few])
    assert runner.waiting([more]) == [more]
