import shutil

from lumbar_kernel.__main__ import main
from lumbar_kernel.results.report import EXIT_GRADED


def test_inspect_shows_series_and_refusals(dataset, tmp_path, capsys):
    data = shutil.copytree(dataset, tmp_path / "data")
    series = next(path for path in sorted((data / "test_images").glob("*/*")) if path.is_dir())
    (series / "note.dcm").write_text("not a DICOM file")
    assert main(["inspect", str(data)]) == EXIT_GRADED
    shown = capsys.readouterr().out
    assert shown.count("Sagittal T1:") == shown.count("Axial T2:") == 2
    assert [line for line in shown.splitlines() if "refused" in line and "note.dcm" in line]


def test_inspect_draws_what_it_shows(dataset, tmp_path, capsys):
    drawn = tmp_path / "inspected.png"
    assert main(["inspect", str(dataset), "--png", str(drawn)]) == EXIT_GRADED
    assert f"{drawn}: 2 of 2 studies" in capsys.readouterr().out
    assert drawn.stat().st_size > 100_000
