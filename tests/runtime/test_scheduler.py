import dataclasses
import itertools

import pytest

from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.scheduler import Pass, Plan, fastest_members, first_members, grading
from tests.conftest import FakeClock


@pytest.fixture
def manifest(untrained):
    manifest = read_manifest(untrained)
    stages = {"wait for reading": 0.1, "localise": 2.0, "axial": 0.2, "crop": 0.1}
    slow = dataclasses.replace(manifest.members[0], name="slow", seconds_per_study=1.0, gain=0.02)
    fast = dataclasses.replace(manifest.members[0], name="fast", seconds_per_study=0.1, gain=0.01)
    return dataclasses.replace(manifest, stage_seconds=stages, members=(slow, fast, *manifest.members[1:]))


def plan_for(manifest, seconds=None):
    return Plan(manifest, Budget(seconds, reserve=0.0, clock=FakeClock()))


def test_members_go_in_order_of_gain_per_second(manifest):
    slow, fast = manifest.members[:2]
    plan = plan_for(manifest)
    assert plan.next_member([slow, fast]) is fast
    plan.learn(grading(fast), 100.0, studies=10)
    assert plan.next_member([slow, fast]) is slow


def test_what_is_measured_replaces_the_manifest_stage_by_stage(manifest):
    plan, way = plan_for(manifest), Pass(manifest.members[:1])
    assert plan.seconds(way) == pytest.approx(3.4)
    for _ in range(100):
        plan.learn("localise", 4.0, studies=4)
    assert plan.seconds(way) == pytest.approx(2.4, abs=0.02)
    plan.learn("pictures", 100.0, studies=1)
    plan.learn("wait for reading", 100.0, studies=0)
    assert plan.seconds(way) == pytest.approx(2.4, abs=0.02)


def test_thin_work_teaches_what_the_whole_takes(manifest):
    plan, way = plan_for(manifest), Pass(())
    before = plan.seconds(way)
    for _ in range(1000):
        plan.learn("localise", 1.0, studies=0.5)
    assert plan.seconds(way) == pytest.approx(before, abs=0.01)
    assert plan.seconds(Pass((), stride=2)) == pytest.approx(before - 1.0, abs=0.01)


def test_the_first_pass_is_thin_only_when_the_full_one_does_not_fit(manifest):
    full, thin = Pass(manifest.members[:1]), Pass(manifest.members[1:2], stride=2)
    for seconds, wanted in ((3.4 * 10 * 1.11, full), (3.4 * 10, thin), (1.0, thin), (None, full)):
        assert plan_for(manifest, seconds).choose(full, thin, studies=10) is wanted
    text = plan_for(manifest, 10.0).outlook(full, thin, studies=10)
    assert "34 s" in text
    assert "10 s are left" in text
    assert "about 6 of them" in text


def test_further_members_go_on_only_while_the_other_studies_keep_their_first_pass(manifest):
    more, full = Pass(manifest.members[:2]), Pass(manifest.members[:1])
    needed = (1.0 + 0.1) * 4 + 3.4 * 10
    for seconds, wanted in ((needed * 1.11, True), (needed, False), (None, True)):
        assert plan_for(manifest, seconds).fits_also(more, now=4, full=full, later=10) is wanted


def test_more_time_never_takes_fewer_studies(manifest):
    counts = [plan_for(manifest, seconds).how_many(1.0, most=4) for seconds in (0, 0.5, 1.2, 5, 9, 14, 18, 99, None)]
    assert counts == [0, 0, 1, 1, 2, 3, 4, 4, 4]
    assert all(before <= after for before, after in itertools.pairwise(counts))


def test_the_fastest_member_of_each_view_stands_in(manifest):
    chosen = first_members(manifest.members)
    assert "slow" in {spec.name for spec in chosen}
    names = [spec.name for spec in fastest_members(chosen, manifest.members)]
    assert "fast" in names
    assert "slow" not in names
    assert len(names) == len(chosen)
