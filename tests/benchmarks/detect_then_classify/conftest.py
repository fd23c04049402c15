"""A made-up pack of pictures with one bright spot for each class, brighter for worse grades."""

import numpy as np
import pytest

from benchmarks.detect_then_classify.packs import Pack, Rows
from lumbar_kernel.schema import FORAMINAL, LEVELS

SPOTS = np.array([[0.1 + 0.2 * level, 0.5] for level in range(5)])


def spotted_pack(pictures, *, side=100, name="sagittal_t1"):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (pictures, 5))
    images = []
    for own in labels:
        image = rng.integers(0, 20, (side, side), dtype=np.uint8)
        for (row, column), label in zip(SPOTS * side, own, strict=True):
            image[int(row) - 4 : int(row) + 4, int(column) - 4 : int(column) + 4] = 60 + 90 * label
        images.append(image)
    picture, target = np.divmod(np.arange(5 * pictures), 5)
    study = np.array([f"s{k // 2}" for k in range(pictures)])
    rows = Rows(
        picture=picture,
        target=target,
        point=SPOTS[target],
        label=labels.ravel(),
        row_id=np.array([f"{study[k]}-{k}_left_{FORAMINAL}_{LEVELS[t]}" for k, t in zip(picture, target, strict=True)]),
        stratum=np.array([f"{FORAMINAL}_{LEVELS[t]}" for t in target]),
        group=np.full(5 * pictures, FORAMINAL),
    )
    return Pack(
        name=name,
        pictures=images,
        neighbours=[],
        study=study,
        series=study,
        instance=np.arange(pictures),
        fold=(np.arange(pictures) // 2) % 4,
        classes=LEVELS,
        boxes=[np.column_stack([range(5), SPOTS])] * pictures,
        boxed=np.ones(pictures, bool),
        box=np.full((5, 2), 0.1),
        window=0.16,
        size=96,
        rows=rows,
    )


@pytest.fixture(scope="package")
def pack():
    return spotted_pack(48)
