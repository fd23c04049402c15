import numpy as np


def test_shown_landmarks_lie_inside_their_pictures(made):
    for examples in (made["sagittal"], made["axial_points"]):
        shown = examples.points[~np.isnan(examples.points).any(axis=2)]
        assert shown.min() > 0
        assert shown.max() < examples.images.shape[1]
