"""What the tests of this folder share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom import PhantomStudy, draw_patient, make_phantom, tissue
from lumbar_kernel.phantom.body import Body
from lumbar_kernel.phantom.frame import build_frame
from lumbar_kernel.phantom.spine import Spine


@pytest.fixture(scope="session")
def phantom() -> PhantomStudy:
    return make_phantom(8, study_id="4200001")


@pytest.fixture(scope="module", params=range(5))
def body(request):
    anatomy = draw_patient(request.param)
    frame = build_frame(anatomy, np.random.default_rng(request.param))
    return Body.draw(anatomy, frame, np.random.default_rng((request.param, 1)))


def midline(frame):
    """The plane through the middle of an unbent spine, 1 mm a pixel, rows downwards."""
    (right, down), corner = np.eye(3)[1:] * [[1], [-1]] @ frame.rotation.T, np.array([0.0, -220.0, 150.0])
    return SlicePlane(corner @ frame.rotation.T + frame.shift, right, down, 1.0, 1.0, (270, 350))


SEED, SHOWN = 4, (tissue.FAT, tissue.GANGLION, tissue.VESSEL)


def spine_of(transitional):
    anatomy = replace(draw_patient(SEED), transitional=transitional)
    return Spine(anatomy, build_frame(anatomy, np.random.default_rng(SEED)))
