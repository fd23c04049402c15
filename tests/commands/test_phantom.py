import csv

from lumbar_kernel.__main__ import main
from lumbar_kernel.results.report import EXIT_GRADED


def test_phantom_writes_a_train_split(tmp_path):
    assert main(["phantom", str(tmp_path), "--studies", "1", "--split", "train", "--quiet"]) == EXIT_GRADED
    with (tmp_path / "train.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
    assert (tmp_path / "train_label_coordinates.csv").is_file()


def test_readers_who_disagree_change_the_tables_and_not_the_images(tmp_path):
    options = ["--studies", "1", "--seed", "3", "--quiet"]
    assert main(["phantom", str(tmp_path / "exact"), *options]) == EXIT_GRADED
    assert main(["phantom", str(tmp_path / "read"), *options, "--reader-noise", "1"]) == EXIT_GRADED
    files = sorted(path.relative_to(tmp_path / "exact") for path in (tmp_path / "exact").rglob("*") if path.is_file())
    changed = {str(p) for p in files if (tmp_path / "exact" / p).read_bytes() != (tmp_path / "read" / p).read_bytes()}
    assert "truth_label_coordinates.csv" in changed
    assert changed <= {"truth_label_coordinates.csv", "truth.csv"}


def test_phantom_draws_a_gallery_with_or_without_files(tmp_path, capsys):
    picture = tmp_path / "gallery.png"
    assert main(["phantom", "--studies", "1", "--gallery", str(picture)]) == EXIT_GRADED
    assert str(picture) in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.png"]
