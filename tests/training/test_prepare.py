import sys

from evaluation.held_out_studies import HELD_OUT_STUDIES
from tests.training.conftest import grade_examples
from training import prepare
from training.examples import GradeExamples, load


def test_every_kind_of_example_is_written_without_held_out_studies(monkeypatch, tmp_path):
    def examples(*_, **__):
        return grade_examples(["1", min(HELD_OUT_STUDIES), "2", "1"])

    monkeypatch.setattr(prepare.packs, "landmark_packs", lambda data: [examples(data)])
    monkeypatch.setattr(prepare.packs, "axial_points", examples)
    for name in ("foramina", "canal"):
        monkeypatch.setattr(prepare.pack_crops, name, examples)
    monkeypatch.setattr(sys, "argv", ["prepare", str(tmp_path / "packs"), str(tmp_path / "cache")])
    prepare.main()
    written = {path.stem: load(path, GradeExamples) for path in (tmp_path / "cache").glob("*.npz")}
    assert set(written) == {"sagittal", "foramina", "canal", "axial_points"}
    for kept in written.values():
        assert kept.group.tolist() == ["1", "2", "1"]
        assert kept.images.shape[0] == len(kept.labels) == len(kept.fold) == 3
