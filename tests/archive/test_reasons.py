import ast
import re

import pytest

from lumbar_kernel.archive.reasons import FIXED, OTHER, PHRASES, failure_type, plain_reason, plain_reasons
from tests.conftest import ROOT

SENTENCES = {
    "DOE/1.dcm: not a DICOM file": "not a DICOM file",
    "DOE/1.dcm: Modality is 'DOE JANE', only MR is read": "not MR",
    "DOE/1.dcm: its JPEG Baseline pixels cannot be decoded here; install DOE": "pixels cannot be decoded",
    "series DOE: 3 slices repeat the place of another one, left out": "slices repeat a place",
    "T2 by SeriesDescription; series 7 ('DOE') is read as Sagittal T1 instead": "another series is read instead",
    "it shows the head by BodyPartExamined DOE": "another region of the body",
    "the reader took longer than 120 s and was stopped": "the reader was too slow",
    "DicomError: the reader process died (exit code -9)": "the reader died",
    "LocalisationError: no five discs in a plausible row were found": "no plausible row of five discs",
    "ProcessDied: the process ended with exit code -11, 3 times in all": "the process ended",
    "no Axial T2 series": "no Axial T2 series",
    "no axial slice at L4/L5": "no axial slice at L4/L5",
    "3 of 21 axial slices at the discs show no spine and are left out": "axial slices without a spine",
    "nothing on the axial slice at L1/L2": "nothing on the axial slice at L1/L2",
    "nothing on the sagittal T2 slice at the canal of L1/L2": "nothing on the sagittal T2 slice at the canal of L1/L2",
    "no sagittal T1 slice at the left foramen of L1/L2": "no sagittal T1 slice at the left foramen of L1/L2",
    "no sagittal T2 slice at the canal of L5/S1": "no sagittal T2 slice at the canal of L5/S1",
    "DOE/1.dcm: 900000000 bytes are over the limit of 268435456": "over a limit of size",
    "DOE/1.dcm: the header is longer than 16777216 bytes": "over a limit of size",
    "series DOE: left out, the study has more than 200000000 pixels": "over a limit of size",
    "DOE/1.dcm: the matrix is 0 × 7, both must be at least 1": "impossible matrix",
    "LocalisationError: no decoded disc has any evidence": "no disc was seen",
    "no memory: DOE": "no memory",
    "DOE^JANE 19610203": OTHER,
}


@pytest.mark.parametrize(("sentence", "phrase"), SENTENCES.items())
def test_a_sentence_becomes_a_phrase(sentence, phrase):
    assert plain_reason(sentence) == phrase


@pytest.fixture(scope="module")
def texts():
    """Every text of the package but the vocabulary itself, with something in place of the values."""
    found = set()
    for path in (ROOT / "lumbar_kernel").rglob("*.py"):
        if path.name != "reasons.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    for value in ("7", "axial"):
                        parts = (part.value if isinstance(part, ast.Constant) else value for part in node.values)
                        found.add("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= {node.value, f"7.dcm: {node.value}"}
    return found


@pytest.mark.parametrize("phrase", PHRASES)
def test_every_alternative_of_a_phrase_is_a_sentence_that_the_package_says(texts, phrase):
    for alternative in re.split(r"\|(?![^(]*\))", PHRASES[phrase]):
        assert phrase in {plain_reason(text) for text in texts if re.search(alternative, text)}, alternative


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("secret", ["DOE^JANE", "is read as DOE instead", "not a DICOM file DOE"])
def test_nothing_else_ever_comes_out(sentence, secret):
    known = {*PHRASES, *FIXED, OTHER}
    for text in (sentence + secret, secret + sentence, sentence.replace("DOE", secret)):
        assert plain_reason(text) in known


def test_each_phrase_is_said_once():
    assert plain_reasons(["a: not a DICOM file", "b: not a DICOM file", "no Axial T2 series"]) == [
        "not a DICOM file",
        "no Axial T2 series",
    ]


def test_names_of_exceptions_pass_and_texts_do_not():
    assert failure_type("LocalisationError") == "LocalisationError"
    assert failure_type("Doe Jane") == OTHER
