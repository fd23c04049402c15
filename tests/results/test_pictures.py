import subprocess
import sys

import cv2
import numpy as np
import pytest

from lumbar_kernel.results import drawing
from lumbar_kernel.results.pictures import (
    CHART,
    COLUMN,
    IMAGES,
    SAGITTAL,
    TILE,
    add_grades,
    draw_study,
    picture_layout,
    picture_path,
)
from lumbar_kernel.schema import AXIAL_T2, ROWS, SAGITTAL_T1, SAGITTAL_T2, prior
from lumbar_kernel.study import Study

NOWHERE = (None,) * 5


def without(study, *roles):
    return Study(study.study_id, tuple(item for item in study.series if item.role not in roles))


def panels_of(picture):
    """The panels of a picture: four sagittal, five of levels, five of crops."""
    for top, size in ((0, SAGITTAL), (SAGITTAL, TILE), (SAGITTAL + TILE, TILE)):
        yield from (picture[top : top + size, left : left + size] for left in range(0, IMAGES[1], size))


def test_the_layout_says_where_the_panels_are(drawn):
    picture, layout = cv2.imread(str(drawn)), picture_layout()
    assert picture.shape[:2] == (layout["height"], layout["width"])
    assert [len(layout["panels"][name]) for name in ("sagittal", "axial", "crops")] == [4, 5, 5]
    found = [place for places in layout["panels"].values() for place in places]
    shown = [picture[top : top + height, left : left + width] for left, top, width, height in found]
    assert all((one == other).all() for one, other in zip(shown, panels_of(picture), strict=True))


@pytest.fixture(scope="module")
def drawn(phantom, landmarks, views, crops, tmp_path_factory):
    return draw_study(phantom.study, landmarks, views, crops, tmp_path_factory.mktemp("pictures"))


def test_a_picture_shows_every_view_every_level_and_every_crop(drawn):
    picture = cv2.imread(str(drawn))
    assert picture.shape == (IMAGES[0], IMAGES[1] + COLUMN, 3)
    assert [panel.std() > 15 for panel in panels_of(picture)] == [True] * 14


@pytest.mark.parametrize("absent", [(SAGITTAL_T1,), (SAGITTAL_T2,), (AXIAL_T2,), (SAGITTAL_T1, AXIAL_T2)])
def test_no_panel_of_an_incomplete_study_is_empty(phantom, landmarks, views, crops, absent, tmp_path):
    axial = NOWHERE if AXIAL_T2 in absent else views
    kept = {name: item for name, item in crops.items() if not any(role_of(name) == role for role in absent)}
    missing = [f"no {role} series" for role in absent]
    path = draw_study(without(phantom.study, *absent), landmarks, axial, kept, tmp_path, missing=missing)
    assert [panel.std() > 10 for panel in panels_of(cv2.imread(str(path)))] == [True] * 14


def role_of(view):
    return {"sagittal_t1": SAGITTAL_T1, "sagittal_t2": SAGITTAL_T2, "axial_t2": AXIAL_T2}[view]


def test_grades_change_their_place_alone_and_may_be_drawn_again(drawn, tmp_path):
    path = tmp_path / drawn.name
    path.write_bytes(drawn.read_bytes())
    before = cv2.imread(str(path)).astype(int)
    severe, mild = np.tile([0.0, 0.0, 1.0], (25, 1)), np.tile([1.0, 0.0, 0.0], (25, 1))
    colours = []
    for probabilities in (severe, mild):
        add_grades(path, probabilities, np.ones(len(ROWS), bool))
        after = cv2.imread(str(path)).astype(int)
        assert np.abs(after - before)[:, : IMAGES[1] - 8].max() < 40  # coded twice
        colours.append(after[CHART].mean(axis=(0, 1)))
    assert colours[0][2] > colours[0][1] + 20
    assert colours[1][1] > colours[1][2] + 20


@pytest.mark.parametrize("study_id", ["../../etc/7", "/etc/7", "..", "a\\b", "1.2.840.7", "50 %"])
def test_a_picture_lies_in_its_folder_whatever_the_id(tmp_path, study_id):
    path = picture_path(tmp_path, study_id)
    assert path.parent == tmp_path
    assert path.resolve().parent == tmp_path.resolve()
    assert path.suffix == ".jpg"


def test_no_two_studies_share_a_picture(tmp_path):
    ids = ["a_1", "a+1", "a/1", "a:1", "_7", ".7", "M_ller", "M\udcfcller", "M\udcffller"]
    assert len({picture_path(tmp_path, study_id).name for study_id in ids}) == len(ids)
    assert picture_path(tmp_path, "4003253").name == "4003253.jpg"


@pytest.mark.parametrize("module", ["pictures", "page"])
def test_what_a_run_draws_at_its_end_does_without_torch(module):
    code = f"import sys, lumbar_kernel.results.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_another_file_in_the_place_of_a_picture_is_left_alone(tmp_path):
    path = tmp_path / "5.jpg"
    path.write_bytes(b"no picture")
    add_grades(path, np.full((25, 3), 1 / 3), np.ones(len(ROWS), bool))
    assert path.read_bytes() == b"no picture"


def test_an_empty_file_in_the_place_of_a_picture_is_left_alone(tmp_path):
    path = tmp_path / "1.jpg"
    path.touch()
    add_grades(path, prior(), np.ones(25, bool))
    assert path.read_bytes() == b""


def test_a_picture_is_not_hidden_whatever_the_id(tmp_path):
    assert not picture_path(tmp_path, ".7").name.startswith(".")


def test_the_legend_names_the_colours_of_the_sides(phantom, landmarks, views, crops, tmp_path, monkeypatch):
    marks, original = [], drawing.text

    def text(panel, words, place, *args, **options):
        marks.append((words, tuple(panel[place[1] - 5, place[0] - 14].tolist()) if place[1] > 5 else None))
        original(panel, words, place, *args, **options)

    monkeypatch.setattr(drawing, "text", text)
    draw_study(phantom.study, landmarks, views, crops, tmp_path)
    colours = dict(marks)
    assert colours["patient's left (L)"] == drawing.SIDE_COLOURS[0]
    assert colours["patient's right (R)"] == drawing.SIDE_COLOURS[1]
    assert colours["canal"] != colours["posterior disc margin"]
