import numpy as np

from benchmarks.phantom import measurements, probes, realism, report


def test_one_phantom_is_measured_in_every_respect():
    found = measurements.measure_phantom(0, seed=77)
    sections = list(report.image_sections([found], None))
    assert len(sections) == 3
    assert not sections[1].failed
    assert {view for view, _ in found.pictures} >= {realism.FORAMINA_T1, realism.MIDDLE_T1, realism.AXIAL}
    assert all(np.isfinite(values).all() for _, item in found.pictures for values in item.values())
    seen = found.probe_inputs
    assert seen.off_spine.shape == (5, probes.PATCH_PIXELS**2)
    middle = seen.masked.reshape(5, 2, probes.MASKED_PIXELS, probes.MASKED_PIXELS)[:, :, :, 12]
    assert not middle[:, 1].any()  # the column of the canal is hidden in every sagittal picture
    assert len(seen.header) > 20
