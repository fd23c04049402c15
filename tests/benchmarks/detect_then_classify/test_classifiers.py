import numpy as np
import pytest

from benchmarks.detect_then_classify import classifiers
from benchmarks.detect_then_classify.classifiers import (
    CLASSIFIERS,
    PIXELS,
    classify,
    load_classifier,
    samples,
    train_classifier,
)
from benchmarks.detect_then_classify.cost import parameters
from benchmarks.detect_then_classify.packs import crops
from evaluation.array_rows import select
from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import FORAMINAL


@pytest.mark.parametrize(("name", "millions"), [("score_net", 2.8), ("vgg19", 20.0)])
def test_the_nets_have_the_size_of_the_entries(name, millions):
    pytest.importorskip("torchvision", reason="VGG-19 is torchvision's")
    assert parameters([CLASSIFIERS[name]()]) == pytest.approx(1e6 * millions, rel=0.02)


def test_the_score_net_learns_what_the_spots_show_and_comes_back_from_its_file(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "BATCH", 16)  # more steps in less time
    data = samples(pack, FORAMINAL, fold=0)
    assert len(data.labels) == (pack.fold[pack.rows.picture] != 0).sum()
    train_classifier("score_net", data, tmp_path / "net.pt", epochs=8, device="cpu", seed=0)
    net = load_classifier("score_net", tmp_path / "net.pt", device="cpu")
    rows = select(pack.rows, pack.fold[pack.rows.picture] == 0)
    cut = crops([pack.pictures[k] for k in rows.picture], rows.point, window=pack.window, pixels=PIXELS)
    graded = classify(net, cut, device="cpu")
    assert np.allclose(graded.sum(axis=1), 1)
    assert weighted_log_loss(rows.label, graded) < 0.5
    assert classify(net, cut[:0], device="cpu").shape == (0, 3)
