import numpy as np

from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.schema import LEVELS
from tests.training.conftest import SEEDS
from training.fold_checkpoints import exported
from training.localised_margins import localised_margins


def test_every_marked_disc_of_a_pack_that_exists_is_looked_for(packs_folder, trained):
    manifest = read_manifest(trained)
    checkpoints = exported(manifest, manifest.sagittal, out_of_fold=False)
    found = localised_margins(packs_folder, "sudirman_sagittal", "t1", checkpoints)
    _, marked = np.unique(found.group, return_counts=True)
    assert set(marked) == {len(LEVELS)}
    assert len(marked) <= len(SEEDS)  # a phantom may lack T1
    assert np.median(found.distance) < 0.02
    assert localised_margins(packs_folder, "spider_t2", "t2", checkpoints) is None
