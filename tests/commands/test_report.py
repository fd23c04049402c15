from lumbar_kernel.__main__ import main
from lumbar_kernel.results.report import EXIT_OK


def test_report_makes_the_page_of_a_run_again(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    main(["predict", str(dataset), "--out", str(out), "--html", "--quiet"])
    page = out / "report.html"
    first = page.read_text(encoding="utf-8")
    assert len([*(out / "pictures").glob("*.jpg")]) == 2
    page.unlink()
    assert main(["report", str(out)]) == EXIT_OK
    assert capsys.readouterr().out.strip() == str(page)
    assert page.read_text(encoding="utf-8") == first
