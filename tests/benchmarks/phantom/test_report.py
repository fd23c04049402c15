"""The report on the phantom: each check passes on what is right and fails on what is planted wrong."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pydicom

from benchmarks.phantom import contrast, cost, examine, files, labels, likeness, literature, probes, report
from benchmarks.phantom.section import Finding, Section, near, tally
from lumbar_kernel.phantom import write_study
from lumbar_kernel.phantom.write import coordinate_rows
from lumbar_kernel.schema import CANAL, GROUPS, SAGITTAL_T1, SUBARTICULAR
from lumbar_kernel.study import Study


def drawn_quantities(rng, *, shift):
    """Quantities of one patient as the literature has them, all off by a share of its spread."""
    drawn = {}
    for expected in literature.MEANS:
        values = np.array(expected.mean) + (shift + rng.normal(size=len(expected.mean))) * expected.spread
        drawn[expected.name] = values[0] if expected.places == literature.WHOLE else values
    return drawn


def drawn_grades(rng, studies, *, more_severe=0.0):
    """Grades with the challenge's shares, no level tied to another."""
    grades = np.zeros((studies, 25), np.int64)
    for group in GROUPS:
        for level in range(5):
            shares = np.array(labels.SHARES[group][level]) / 100 + np.array([-more_severe, 0, more_severe])
            for column in labels.columns(group, level):
                grades[:, column] = rng.choice(3, studies, p=shares / shares.sum())
    return grades


def test_sizes_of_the_literature_pass_and_shifted_ones_fail():
    rng = np.random.default_rng(0)
    for shift, failing in ((0.0, False), (0.6, True)):
        section = literature.compare([drawn_quantities(rng, shift=shift) for _ in range(800)])
        means = [item for item in section.findings if item.passed is not None and item.what != "measured"]
        assert len(means) > literature.MEASURED_AT_LEAST
        assert all((item.passed is False) == failing for item in means), section.failed


def test_a_phantom_gives_sizes_and_says_what_it_does_not_expose():
    section = literature.compare([examine.geometry(index, seed=5).quantities for index in range(6)])
    by_name = {item.what: item for item in section.findings}
    assert 25 < by_name["margin step L4"].found < 45
    assert by_name["measured"].passed
    assert all("not exposed" in item.note for item in section.findings if np.isnan(item.found))


def test_label_shares_of_the_challenge_pass_and_four_points_more_fail():
    rng = np.random.default_rng(0)
    assert not [f for f in labels.marginals(drawn_grades(rng, 5000)).failed if "any severe" not in f.what]
    wrong = labels.marginals(drawn_grades(rng, 5000, more_severe=0.04)).failed
    assert len([f for f in wrong if f.what.endswith("Severe, %")]) == 15


def test_grades_that_do_not_go_together_fail():
    section = labels.correlations(drawn_grades(np.random.default_rng(0), 5000))
    assert len(section.failed) == len(section.findings)


def test_a_score_that_is_one_size_in_disguise_fails():
    rng = np.random.default_rng(0)
    sizes = [
        {"sac_area": rng.normal(size=5), "flavum": rng.normal(size=(5, 2)), "age": rng.normal()} for _ in range(300)
    ]
    scores = rng.normal(size=(300, 25))
    assert not labels.single_causes(scores, sizes).failed
    for level in range(5):
        for k, column in enumerate(labels.columns(SUBARTICULAR, level)):
            scores[:, column] = [-(item["flavum"][level, k] ** 3) for item in sizes]
    assert [(f.what.split(",")[0], f.note[:6]) for f in labels.single_causes(scores, sizes).failed] == [
        ("subarticular stenosis", "flavum")
    ]


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


def test_labels_lead_back_to_the_truth_and_a_moved_header_shows(phantom, tmp_path):
    write_study(phantom, tmp_path)
    rows = coordinate_rows(phantom)
    assert not files.geometry(files.round_trips(tmp_path, rows, phantom.truth), 1).failed
    path = tmp_path / str(rows[0][1]) / f"{rows[0][2]}.dcm"
    header = pydicom.dcmread(path)
    header.ImagePositionPatient = [float(x) + 1 for x in header.ImagePositionPatient]
    header.save_as(path)
    assert [f.what for f in files.geometry(files.round_trips(tmp_path, rows, phantom.truth), 1).failed]


def test_a_changed_byte_shows(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    assert files.tree_hashes(copy) == files.tree_hashes(dataset)
    path = next(copy.rglob("*.dcm"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert files.tree_hashes(copy) != files.tree_hashes(dataset)


def test_cost_is_measured():
    section = cost.cost(studies=1)
    assert [item.found > 0 for item in section.findings] == [True] * 3
    assert section.findings[-1].passed, section.findings[-1]


def noisy_pictures(rng, count, *, noise):
    rows, columns = np.mgrid[:96, :96]
    for _ in range(count):
        waves = np.sin(rows / rng.uniform(6, 9)) + np.cos(columns / rng.uniform(6, 9))
        yield np.clip(128 + 50 * waves + rng.normal(0, noise, waves.shape), 1, 255).astype(np.uint8)


def test_pictures_of_one_kind_lie_near_and_noisier_ones_far():
    rng = np.random.default_rng(0)
    real = [
        likeness.Sample(str(k), "pack", likeness.statistics(picture))
        for k, picture in enumerate(noisy_pictures(rng, 60, noise=4))
    ]
    same, noisier = ([likeness.statistics(p) for p in noisy_pictures(rng, 20, noise=n)] for n in (4, 12))
    sections = [likeness.likeness({likeness.MIDDLE_T2: made}, {likeness.MIDDLE_T2: real}) for made in (same, noisier)]
    near_by, far = ({f.what.split(", ")[1]: f.found for f in section.findings} for section in sections)
    assert max(near_by.values()) < 0.8
    assert far["noise"] > 3
    assert far["spectrum"] > 2


def test_a_probe_finds_a_planted_clue_and_nothing_in_noise():
    rng = np.random.default_rng(0)
    grades = drawn_grades(rng, 150)
    noise = rng.normal(size=(150, 5, 6))
    honest = probes.judge(probes.HEADER, CANAL, noise, grades)
    assert honest.passed, honest
    leak = noise.copy()
    for level in range(5):
        leak[:, level, 0] += 1.5 * grades[:, labels.columns(CANAL, level)].mean(axis=1)
    given_away = probes.judge(probes.HEADER, CANAL, leak, grades)
    assert given_away.passed is False, given_away
    assert given_away.found > 0.1


def test_one_phantom_is_examined_from_every_side():
    found = examine.examine(0, seed=77)
    sections = list(report.image_sections([found], None))
    assert len(sections) == 3
    assert not sections[1].failed
    assert {view for view, _ in found.pictures} >= {likeness.FORAMINA_T1, likeness.MIDDLE_T1, likeness.AXIAL}
    assert all(np.isfinite(values).all() for _, item in found.pictures for values in item.values())
    seen = found.clues
    assert seen.off_spine.shape == (5, probes.PATCH_PIXELS**2)
    middle = seen.masked.reshape(5, 2, probes.MASKED_PIXELS, probes.MASKED_PIXELS)[:, :, :, 12]
    assert not middle[:, 1].any()  # the column of the canal is hidden in every sagittal picture
    assert len(seen.header) > 20


def test_the_command_prints_tables_and_fails_when_a_finding_does(tmp_path, monkeypatch, capsys):
    arguments = ["--truths", "4", "--studies", "0", "--workers", "1", "--json", str(tmp_path / "report.json")]
    monkeypatch.setattr(sys, "argv", ["phantom_report", *arguments])
    assert report.main() == 1  # four phantoms do not have the challenge's shares
    shown = capsys.readouterr().out
    sections = json.loads((tmp_path / "report.json").read_text())
    assert [f"## {item['title']}" in shown for item in sections] == [True] * 4
    right = [item for section in sections for item in section["findings"] if item["passed"]]
    assert f"{len(right)} of " in shown


def test_a_finding_outside_its_tolerance_is_told():
    section = Section("one", (near("a", 1.0, 1.05, 0.1), near("b", 2.0, 1.0, 0.1), Finding("c", 3.0, "", None)))
    assert [item.what for item in section.failed] == ["b"]
    assert tally([section, section]) == (2, 4)
    assert "1 of 2 as wanted" in section.markdown()
