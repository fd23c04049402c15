import pytest

from lumbar_kernel.results.wording import without_paths


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("DOE/1.dcm: pixels cannot be decoded", "a file: pixels cannot be decoded"),
        ("DOE JOHN/IM 001: truncated", "a file: truncated"),
        ("OSError: [Errno 2] No such file: '/data/doe/x/y'", "OSError: [Errno 2] No such file: 'a file'"),
        (
            "read: DicomError: study 7 holds none: DOE/IM1: short; b/IM2: long",
            "read: DicomError: study 7 holds none: a file: short; a file: long",
        ),
        (r"cannot open C:\scans\doe\1.ima today", "cannot open a file today"),
    ],
)
def test_names_of_files_and_folders_are_left_out(sentence, shown):
    assert without_paths([sentence]) == [shown]


@pytest.mark.parametrize(
    "sentence",
    [
        "no Sagittal T2/STIR series",
        "no axial slice at L1/L2",
        "series 5: its given role is Sagittal T2/STIR but its slices are axial; geometry decides",
        "localise: levels at L4/L5: none plausible",
    ],
)
def test_our_own_words_stay(sentence):
    assert without_paths([sentence]) == [sentence]


def test_equal_sentences_are_counted_in_their_order():
    sentences = ["a/1: short", "no Axial T2 series", "a/2: short"]
    assert without_paths(sentences) == ["a file: short (2 times)", "no Axial T2 series"]
