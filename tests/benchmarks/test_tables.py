from benchmarks.tables import table_head, table_row


def test_a_table_has_a_rule_below_its_names():
    assert table_head("name", "loss") == "| name | loss |\n|---|---|"
    assert table_row("a", 0.5) == "| a | 0.5 |"
