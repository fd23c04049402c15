from dataclasses import replace

import numpy as np

from lumbar_kernel.phantom import draw_patient, tissue
from lumbar_kernel.phantom.anatomy import FIRST_FUSED
from lumbar_kernel.phantom.frame import build_frame
from lumbar_kernel.phantom.painting import paint_spine
from lumbar_kernel.phantom.spine import Spine
from tests.phantom.conftest import spine_of


def test_an_open_arch_has_no_spinous_process():
    spine = spine_of("")
    far = {}
    for reach in (0.0, 10.0, 20.0):
        process = spine.anatomy.process.copy()
        process[FIRST_FUSED - 1] = reach
        grid = paint_spine(Spine(replace(spine.anatomy, process=process), spine.frame))
        middle = np.abs(grid.s - spine.frame.body_s[FIRST_FUSED - 1] + 10) < 8
        bone = np.isin(grid.ids[np.abs(grid.u) < 2][:, :, middle], (tissue.MARROW, tissue.CORTEX))
        far[reach] = grid.v[bone.any(axis=(0, 2))].max()
    assert far[0.0] + 5 < far[10.0] < far[20.0] - 5


def test_lines_between_margins_lean_back_above_and_forward_below():
    leans = []
    for seed in range(30):
        anatomy = draw_patient(seed)
        frame = build_frame(anatomy, np.random.default_rng(seed))
        discs = frame.lumbar_disc_s
        points = frame.to_patient(np.stack([0 * discs, 0 * discs, discs], axis=1))
        steps = np.diff(points, axis=0)
        leans.append(np.degrees(np.arctan2(steps[:, 1], -steps[:, 2])))
    real = np.array([-11.0, -6.9, 1.3, 12.6])
    assert np.all(np.abs(np.mean(leans, axis=0) - real) < 5)
