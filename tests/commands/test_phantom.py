import csv
from types import SimpleNamespace

import pytest

from lumbar_kernel.__main__ import main
from lumbar_kernel.commands.phantom import GALLERY_ROWS
from lumbar_kernel.results.report import EXIT_OK, EXIT_USAGE


def test_phantom_writes_a_train_split(tmp_path):
    assert main(["phantom", str(tmp_path), "--studies", "1", "--split", "train", "--quiet"]) == EXIT_OK
    with (tmp_path / "train.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
    assert (tmp_path / "train_label_coordinates.csv").is_file()


def test_readers_who_disagree_change_the_tables_and_not_the_images(tmp_path):
    options = ["--studies", "1", "--seed", "3", "--quiet"]
    assert main(["phantom", str(tmp_path / "exact"), *options]) == EXIT_OK
    assert main(["phantom", str(tmp_path / "read"), *options, "--reader-noise", "1"]) == EXIT_OK
    files = sorted(path.relative_to(tmp_path / "exact") for path in (tmp_path / "exact").rglob("*") if path.is_file())
    changed = {str(p) for p in files if (tmp_path / "exact" / p).read_bytes() != (tmp_path / "read" / p).read_bytes()}
    assert "truth_label_coordinates.csv" in changed
    assert changed <= {"truth_label_coordinates.csv", "truth.csv"}


def test_phantom_draws_a_gallery_with_or_without_files(tmp_path, capsys):
    picture = tmp_path / "gallery.png"
    assert main(["phantom", "--studies", "1", "--gallery", str(picture)]) == EXIT_OK
    assert str(picture) in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.png"]


def test_every_option_reaches_the_phantoms(tmp_path, monkeypatch):
    taken, drawn, asked = {}, [], []
    monkeypatch.setattr("lumbar_kernel.phantom.write_dataset", lambda out, **options: taken.update(options))
    monkeypatch.setattr("lumbar_kernel.results.gallery.draw_gallery", lambda phantoms, _: drawn.append([*phantoms]))

    def dataset_study(seed, index, **options):
        asked.append((index, options))
        return SimpleNamespace(study=seed, truth=None)

    monkeypatch.setattr("lumbar_kernel.phantom.dataset_study", dataset_study)
    numbers = {"studies": GALLERY_ROWS + 1, "seed": 5, "workers": 2, "reader_noise": 3.0}
    words = [f"--{key.replace('_', '-')}={value}" for key, value in numbers.items()]
    words += ["--split", "train", "--balanced", "--quiet", "--gallery", str(tmp_path / "g.png")]
    assert main(["phantom", str(tmp_path), *words]) == EXIT_OK
    assert taken == numbers | {"split": "train", "balanced": True, "progress": False}
    assert drawn == [[(5, None)] * GALLERY_ROWS]
    assert asked == [(index, {"balanced": True, "reader_noise": 3.0}) for index in range(GALLERY_ROWS)]


def test_a_folder_with_studies_of_another_run_is_refused(tmp_path, capsys):
    study = tmp_path / "test_images" / "1000000000"
    study.mkdir(parents=True)
    assert main(["phantom", str(tmp_path), "--studies", "1", "--quiet"]) == EXIT_USAGE
    assert "holds studies" in capsys.readouterr().err
    assert [*tmp_path.rglob("*")] == [study.parent, study]


@pytest.mark.parametrize("option", ["--reader-noise=3.1", "--workers=0", "--seed=-1"])
def test_numbers_that_make_no_phantoms_are_refused(tmp_path, option):
    assert main(["phantom", str(tmp_path / "out"), "--studies", "1", option]) == EXIT_USAGE
