import zipfile

import cv2
import numpy as np
import pytest

from evaluation.real_slices import SQUARED, letterbox, pictures, true_size
from lumbar_kernel.localisation.slice_maps import FRAME


def test_pictures_of_an_archive_come_in_order_and_other_files_are_skipped(tmp_path):
    grey = {name: np.full((8, 6), value, np.uint8) for name, value in (("b.png", 20), ("a.png", 10))}
    with zipfile.ZipFile(tmp_path / "slices.zip", "w") as file:
        for name, picture in grey.items():
            file.writestr(name, cv2.imencode(".png", picture)[1].tobytes())
        file.writestr("notes.txt", "none")
    found = list(pictures(tmp_path))
    assert [name for name, _ in found] == ["a.png", "b.png"]
    assert all(np.array_equal(picture, grey[name]) for name, picture in found)


@pytest.mark.parametrize(("rows", "columns"), [(400, 200), (200, 400), (300, 300)])
def test_a_letterboxed_picture_keeps_its_proportions_in_the_middle(rows, columns):
    frame, height, width = letterbox(np.full((rows, columns), 200, np.uint8), rows=rows, columns=columns)
    assert frame.shape == (FRAME, FRAME)
    assert max(height, width) == FRAME
    assert height / width == pytest.approx(rows / columns)
    bright = np.argwhere(frame > 0)
    assert np.ptp(bright, axis=0).tolist() == [height - 1, width - 1]
    assert bright.mean(axis=0) == pytest.approx([(FRAME - 1) / 2] * 2, abs=0.51)


def test_only_stretched_packs_are_squared():
    picture = np.zeros((30, 90), np.uint8)
    assert true_size(picture, SQUARED[0]) == (90, 90)
    assert true_size(picture, "sagittal_t1") == (30, 90)


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "slices.zip", "w") as archive:
        archive.writestr("a.jpg", b"no picture")
    with pytest.raises(ValueError, match=r"a\.jpg in .*slices\.zip is not a picture"):
        list(pictures(tmp_path))
