import numpy as np
import pytest

from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.views import VIEWS
from training.fold_checkpoints import exported
from training.localised_foramina import localised_foramina
from training.pack_crops import foramina, foraminal_series, stack_of

MIDDLE = VIEWS["sagittal_t1"].geometry.slices // 2


@pytest.fixture(scope="module")
def found(packs_folder, trained):
    manifest = read_manifest(trained)
    return localised_foramina(packs_folder, exported(manifest, manifest.sagittal, out_of_fold=False))


def test_every_mark_gets_a_stack_and_a_weight(found, packs_folder):
    marked = foramina(packs_folder)
    for kind in found:
        assert sorted(kind.crops.row_id[:, 0]) == sorted(marked.row_id[:, 0])
        assert set(kind.weight) == set(marked.row_id[:, 0])
        assert all(0 <= value <= 1 for value in kind.weight.values())
        assert kind.crops.shown[:, MIDDLE].all()


def test_crops_at_found_places_look_like_those_at_the_marks(found, packs_folder):
    given, _ = found
    marked = foramina(packs_folder)
    wanted = dict(zip(marked.row_id[:, 0], marked.images[:, MIDDLE, 24:-24, 24:-24], strict=True))
    likeness = [
        np.corrcoef(image[MIDDLE].ravel(), wanted[row].ravel())[0, 1]
        for row, image in zip(given.crops.row_id[:, 0], given.crops.images, strict=True)
    ]
    assert np.median(likeness) > 0.6


def test_a_series_holds_its_slices_by_instance_and_lacks_the_others(packs_folder):
    series = next(iter(foraminal_series(packs_folder)))
    instance = next(iter(series.slices))
    stack = stack_of(series.slices, instance, count=5)
    assert stack[2] is series.slices[instance]
    assert [item is None for item in stack] == [instance + k not in series.slices for k in range(-2, 3)]
