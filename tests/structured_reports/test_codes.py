from pydicom.sr.codedict import codes

from lumbar_kernel.schema import GROUPS, LEVELS, SEVERITIES, SIDES
from lumbar_kernel.structured_reports.codes import FINDINGS, GRADES, LATERALITY, PROBABILITIES, SCHEME, SITES
from tests.conftest import ROOT


def test_everything_that_is_graded_has_a_code():
    assert (tuple(FINDINGS), tuple(SITES), tuple(LATERALITY)) == (GROUPS, LEVELS, SIDES)
    assert tuple(GRADES) == tuple(PROBABILITIES) == SEVERITIES


def test_levels_are_those_of_snomed():
    for level, code in SITES.items():
        assert code.scheme_designator == "SCT"
        assert level.upper().replace("_", "/") in code.meaning
    assert GRADES["severe"] == codes.SCT.Severe


def test_private_codes_are_documented_and_short_enough():
    text = (ROOT / "docs" / "outputs.md").read_text()
    private = [code for table in (FINDINGS, GRADES, PROBABILITIES) for code in table.values()]
    private = [code for code in private if code.scheme_designator == SCHEME]
    assert len(private) == 7
    assert len({code.value for code in private}) == 7
    for code in private:
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64
        assert f"`{code.value}`" in text
