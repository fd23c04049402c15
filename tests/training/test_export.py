from lumbar_kernel.models.manifest import STAGES
from training import export


def test_the_seconds_to_plan_with_are_measured_for_every_stage(trained):
    measured = export.stage_seconds(trained)
    assert list(measured) == list(STAGES)
    assert min(measured.values()) > 0
