import dataclasses
import itertools

import pytest

from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.scheduler import (
    AMPLE,
    FirstPass,
    FirstPassOptions,
    Scheduler,
    fastest_members,
    first_members,
)
from tests.conftest import FakeClock


@pytest.fixture
def manifest(untrained):
    manifest = read_manifest(untrained)
    stages = {"wait for reading": 0.1, "localise": 2.0, "axial": 0.2, "crop": 0.1}
    slow = dataclasses.replace(manifest.members[0], name="slow", seconds_per_study=1.0, gain=0.02)
    fast = dataclasses.replace(manifest.members[0], name="fast", seconds_per_study=0.1, gain=0.01)
    return dataclasses.replace(manifest, stage_seconds=stages, members=(slow, fast, *manifest.members[1:]))


def scheduler_for(manifest, seconds=None):
    return Scheduler(manifest, Budget(seconds, reserve=0.0, clock=FakeClock()))


def test_members_go_in_order_of_gain_per_second(manifest):
    slow, fast = manifest.members[:2]
    scheduler = scheduler_for(manifest)
    assert scheduler.next_member([slow, fast]) is fast
    scheduler.learn(fast.stage, 100.0, studies=10)
    assert scheduler.next_member([slow, fast]) is slow


def test_what_is_measured_replaces_the_manifest_stage_by_stage(manifest):
    scheduler, first_pass = scheduler_for(manifest), FirstPass(manifest.members[:1])
    assert scheduler.first_pass_seconds(first_pass) == pytest.approx(3.4)
    for _ in range(100):
        scheduler.learn("localise", 4.0, studies=4)
    assert scheduler.first_pass_seconds(first_pass) == pytest.approx(2.4, abs=0.02)
    scheduler.learn("pictures", 100.0, studies=1)
    scheduler.learn("wait for reading", 100.0, studies=0)
    assert scheduler.first_pass_seconds(first_pass) == pytest.approx(2.4, abs=0.02)


def test_a_reduced_pass_updates_the_estimate_of_the_full_one(manifest):
    scheduler, first_pass = scheduler_for(manifest), FirstPass(())
    before = scheduler.first_pass_seconds(first_pass)
    for _ in range(1000):
        scheduler.learn("localise", 1.0, studies=0.5)
    assert scheduler.first_pass_seconds(first_pass) == pytest.approx(before, abs=0.01)
    assert scheduler.first_pass_seconds(FirstPass((), stride=2)) == pytest.approx(before - 1.0, abs=0.01)


def test_the_first_pass_is_reduced_only_when_the_full_one_does_not_fit(manifest):
    full, reduced = FirstPass(manifest.members[:1]), FirstPass(manifest.members[1:2], stride=2)
    options = FirstPassOptions(full, reduced, everything=FirstPass(manifest.members))
    enough = scheduler_for(manifest).first_pass_seconds(options.everything) * 10 * AMPLE * 1.11
    assert enough > 3.4 * 10 * 1.11
    for seconds, expected in (
        (None, options.everything),
        (enough, options.everything),
        (enough / 1.11, full),
        (3.4 * 10 * 1.11, full),
        (3.4 * 10, reduced),
        (1.0, reduced),
    ):
        assert scheduler_for(manifest, seconds).choose(options, studies=10) is expected
    text = scheduler_for(manifest, 10.0).shortage(full, reduced, studies=10)
    assert "34 s" in text
    assert "10 s are left" in text
    assert "about 6 of them" in text


def test_further_members_go_on_only_while_the_other_studies_keep_their_first_pass(manifest):
    more, full = manifest.members[:2], FirstPass(manifest.members[:1])
    needed = (1.0 + 0.1) * 4 + 3.4 * 10
    for seconds, expected in ((needed * 1.11, True), (needed, False), (None, True)):
        assert scheduler_for(manifest, seconds).members_fit(more, studies=4, full=full, later=10) is expected


def test_more_time_never_takes_fewer_studies(manifest):
    counts = [
        scheduler_for(manifest, seconds).affordable_studies(1.0, most=4)
        for seconds in (0, 0.5, 1.2, 5, 9, 14, 18, 99, None)
    ]
    assert counts == [0, 0, 1, 1, 2, 3, 4, 4, 4]
    assert all(before <= after for before, after in itertools.pairwise(counts))


def test_the_first_pass_takes_the_member_that_gains_most_in_whatever_order_they_come(manifest):
    for members in itertools.permutations(manifest.members):
        names = {spec.name for spec in first_members(members)}
        assert "slow" in names
        assert "fast" not in names


def test_the_fastest_member_of_each_view_stands_in(manifest):
    chosen = first_members(manifest.members)
    assert "slow" in {spec.name for spec in chosen}
    names = [spec.name for spec in fastest_members(chosen, manifest.members)]
    assert "fast" in names
    assert "slow" not in names
    assert len(names) == len(chosen)


def test_the_progress_expects_the_rest_of_the_pass_and_the_later_members(manifest):
    scheduler, (slow, fast) = scheduler_for(manifest), manifest.members[:2]
    progress = scheduler.progress(1, "first pass", 4, 10, 3.0, [slow, fast])
    assert (progress.shard, progress.phase, progress.done, progress.studies) == (1, "first pass", 4, 10)
    assert progress.seconds_left == pytest.approx(6 * 3.0 + 10 * (1.0 + 0.1))
    assert scheduler.progress(0, "slow", 10, 10, 1.0, []).seconds_left == 0


def test_whether_a_stage_fits_on_the_processor_follows_the_manifest_whatever_an_accelerator_took(manifest):
    for seconds, expected in ((10 * 1.11, True), (10, False)):
        scheduler, slow = scheduler_for(manifest, seconds), manifest.members[0]
        for _ in range(100):
            scheduler.learn(slow.stage, 0.01, studies=1)
        assert scheduler.fits_on_cpu(slow.stage, studies=10) is expected
