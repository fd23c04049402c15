from lumbar_kernel.__main__ import main
from lumbar_kernel.results.report import EXIT_NOTHING, EXIT_OK, EXIT_USAGE


def test_a_submission_that_the_platform_refuses_is_refused(dataset, tmp_path, capsys):
    lines = (dataset / "sample_submission.csv").read_text().splitlines()
    (tmp_path / "short.csv").write_text("\n".join(lines[:-1]))
    assert main(["score", str(tmp_path / "short.csv"), str(dataset / "truth.csv")]) == EXIT_NOTHING
    assert "Submission Scoring Error: the submission lacks 1 rows" in capsys.readouterr().err
    assert main(["score", str(dataset / "sample_submission.csv"), str(dataset / "sample_submission.csv")]) == 1
    assert "must have the columns study_id" in capsys.readouterr().err


def test_score_draws_its_reliability(dataset, tmp_path):
    sample, truth, plot = (str(dataset / "sample_submission.csv"), str(dataset / "truth.csv"), tmp_path / "r.png")
    assert main(["score", sample, truth, "--draws", "0", "--png", str(plot)]) == EXIT_OK
    assert plot.stat().st_size > 1000


def test_a_study_without_any_label_belongs_to_the_submission(dataset, tmp_path, capsys):
    header, first, second = (dataset / "truth.csv").read_text().splitlines()
    blank = second.partition(",")[0] + "," * second.count(",")
    (tmp_path / "truth.csv").write_text(f"{header}\n{first}\n{blank}\n")
    sample = str(dataset / "sample_submission.csv")
    assert main(["score", sample, str(tmp_path / "truth.csv"), "--draws", "0"]) == EXIT_OK
    assert "(studies: 1)" in capsys.readouterr().out


def test_an_impossible_number_of_draws_is_refused(dataset, capsys):
    files = [str(dataset / name) for name in ("sample_submission.csv", "truth.csv")]
    assert main(["score", *files, "--draws", "-1"]) == EXIT_USAGE
    assert capsys.readouterr() == ("", "lumbar-kernel: --draws must be at least 0, not -1\n")


def test_a_missing_file_to_score_is_reported_in_one_line(tmp_path, capsys):
    assert main(["score", str(tmp_path / "no.csv"), str(tmp_path / "none.csv")]) == EXIT_USAGE
    assert "no.csv" in capsys.readouterr().err


def test_studies_that_only_one_file_holds_are_left_out_where_that_is_asked_for(dataset, tmp_path, capsys):
    lines = (dataset / "sample_submission.csv").read_text().splitlines()
    (tmp_path / "one.csv").write_text("\n".join(lines[:26]))
    words = ["score", str(tmp_path / "one.csv"), str(dataset / "truth.csv"), "--draws", "0"]
    assert main(words) == EXIT_NOTHING
    assert main([*words, "--subset"]) == EXIT_OK
    assert "(studies: 1)" in capsys.readouterr().out
