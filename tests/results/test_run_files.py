import pytest

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.run_files import read_run


def test_a_run_comes_back_as_it_was_written(write_run, tmp_path):
    grades, graded = write_run(tmp_path, count=5)
    run = read_run(tmp_path)
    assert [study.study_id for study in run.studies] == [*grades]
    for study in run.studies:
        assert abs(study.probabilities - grades[study.study_id]).max() < 1e-6
        assert (study.graded == graded[study.study_id]).all()
    assert run.report.version == "1.2.3"


@pytest.mark.parametrize("name", ["d\udcfcse", "Doe, Jane", "a;b", "a\r\nb", '12,5 "x"', "\\udcfc", "dü"])
def test_the_grades_of_a_study_are_found_whatever_its_name_is(write_run, tmp_path, name):
    write_run(tmp_path, count=1, names=[name])
    (study,) = read_run(tmp_path).studies
    assert study.study_id == name
    assert study.graded.all()


@pytest.mark.parametrize("name", ["report.json", "grades.csv"])
def test_an_absent_file_is_named(write_run, tmp_path, name):
    write_run(tmp_path, count=1)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=name):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", "{"),
        ("report.json", "[]"),
        ("report.json", '{"studies": [{}]}'),
        ("report.json", '{"studies": [], "failures": [], "members": [], "notes": [], "colour": "red"}'),
        ("grades.csv", "study_id\n7\n"),
    ],
)
def test_damaged_files_are_refused(write_run, tmp_path, name, content):
    write_run(tmp_path, count=1)
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match="damaged"):
        read_run(tmp_path)
