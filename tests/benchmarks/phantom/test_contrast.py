from dataclasses import replace

import numpy as np

from benchmarks.phantom import contrast
from lumbar_kernel.schema import SAGITTAL_T1
from lumbar_kernel.study import Study


def reversed_greys(pixels):
    """A negative whose black is the white of the body, not that of its single brightest pixel."""
    return np.clip(np.percentile(pixels, 98) - pixels, 1, None)


def test_tissues_stand_in_order_and_not_in_a_negative(phantom):
    study, truth = phantom.study, phantom.truth
    section = contrast.order([contrast.signals(study, truth)] * 2, [])
    known = [item for item in section.findings if item.passed is not None and item.what.startswith(SAGITTAL_T1)]
    assert len(known) == 4
    assert sum(bool(item.passed) for item in known) >= 3
    series = [
        replace(s, slices=tuple(replace(i, pixels=reversed_greys(i.pixels)) for i in s.slices)) for s in study.series
    ]
    negative = contrast.order([contrast.signals(Study("1", tuple(series)), truth)], [])
    assert len(negative.failed) >= max(4, 1 + len(section.failed))
