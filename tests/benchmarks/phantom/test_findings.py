from benchmarks.phantom.findings import Finding, Section, count_passed, near


def test_a_finding_outside_its_tolerance_fails():
    section = Section("one", (near("a", 1.0, 1.05, 0.1), near("b", 2.0, 1.0, 0.1), Finding("c", 3.0, "", None)))
    assert [item.what for item in section.failed] == ["b"]
    assert count_passed([section, section]) == (2, 4)
    assert "1 of 2 as expected" in section.markdown()
