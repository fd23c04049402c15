"""The codes of Structured Reports: SNOMED CT and DCM as pydicom's dictionary holds them, private ones elsewhere.

Private codes have the coding scheme designator 99LUMBAR; `docs/outputs.md` lists them.
"""

from __future__ import annotations

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from lumbar_kernel.schema import CANAL, FORAMINAL, LEVELS, SEVERITIES, SIDES, SUBARTICULAR

SCHEME = "99LUMBAR"


def private(value: str, meaning: str) -> CodedConcept:
    """A code of this project."""
    return CodedConcept(value=value, meaning=meaning, scheme_designator=SCHEME)


NO_UNITS = Code("1", "UCUM", "no units")
SEVERITY = codes.SCT.Severity
MR_OF_LUMBAR_SPINE = private("MR_LUMBAR_SPINE", "MRI of the lumbar spine")
CONFIDENCE = private("CONFIDENCE", "Probability that the point lies where a reader would mark it")

SITES = dict(
    zip(
        LEVELS,
        (
            codes.SCT.LevelOfL1L2IntervertebralDisc,
            codes.SCT.LevelOfL2L3IntervertebralDisc,
            codes.SCT.LevelOfL3L4IntervertebralDisc,
            codes.SCT.LevelOfL4L5IntervertebralDisc,
            codes.SCT.LevelOfL5S1IntervertebralDisc,
        ),
        strict=True,
    )
)
LATERALITY = dict(zip(SIDES, (codes.SCT.Left, codes.SCT.Right), strict=True))

FINDINGS = {
    CANAL: private("CANAL", "Spinal canal stenosis"),
    FORAMINAL: private("FORAMINAL", "Neural foraminal narrowing"),
    SUBARTICULAR: private("SUBARTICULAR", "Subarticular stenosis"),
}

GRADES = dict(
    zip(
        SEVERITIES,
        (private("NORMAL_MILD", "Normal or mild"), codes.SCT.Moderate, codes.SCT.Severe),
        strict=True,
    )
)

PROBABILITIES = {
    "normal_mild": private("P_NORMAL_MILD", "Probability of normal or mild, weighted 1"),
    "moderate": private("P_MODERATE", "Probability of moderate, weighted 2"),
    "severe": private("P_SEVERE", "Probability of severe, weighted 4"),
}
"""The numbers of `submission.csv`: proportional to the metric's weight times the frequency of a grade."""
