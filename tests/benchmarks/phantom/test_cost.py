from benchmarks.phantom import cost


def test_cost_is_measured():
    section = cost.cost(studies=1)
    assert [item.found > 0 for item in section.findings] == [True] * 3
    assert section.findings[-1].passed, section.findings[-1]
