"""Sentences about files and studies → a fixed vocabulary, so that nothing that a header says gets into results.

The sentences of the reader quote file names, descriptions and values of headers, which help at one's own desk. Here
only the kind of problem is kept: whatever a sentence holds, one of these phrases comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product

from lumbar_kernel.schema import LEVEL_NAMES, SERIES_DESCRIPTIONS, SIDES

OTHER = "another reason"

PHRASES: dict[str, str] = {
    "not a DICOM file": r"not a DICOM file",
    "no readable DICOM file": r"is no readable DICOM file",
    "empty file": r"the file is empty",
    "header cannot be read": r"the header cannot be read",
    "no pixel data": r": no pixel data",
    "spectroscopy": r"MR spectroscopy",
    "index of a medium": r"a DICOMDIR",
    "not MR": r"Modality is",
    "colour image": r"a colour image",
    "impossible matrix": r"the matrix is|NumberOfFrames is",
    "over a limit of size": r"over the limit of|is longer than \d+ bytes|has more than \d+ pixels",
    "frames without positions": r"frames have no positions|functional groups for",
    "no position in the patient": r"has no position in the patient",
    "impossible position": r"ImagePositionPatient is|ImageOrientationPatient|PixelSpacing is",
    "pixels cannot be decoded": r"pixels cannot be decoded|could be decoded|bytes of compressed pixels|decoded to",
    "pixels of another size": r"its pixels are a picture",
    "an intact copy is read instead": r"its copy .* is read instead",
    "folder cannot be listed": r"cannot be listed|a folder, pipe, socket or device",
    "cannot be unpacked": r"cannot be unpacked|no such file|encrypted|breaks off",
    "slices repeat a place": r"repeat the place",
    "slices of another plane": r"slices are not (sagittal|axial)",
    "no slice of its plane": r"none of its slices is",
    "geometry contradicts the role given": r"geometry decides",
    "a role given to no part of a series": r"which is no part of it",
    "left out by the roles given": r"left out by the roles given",
    "another region of the body": r"it shows (?!other places)",
    "a station of the spine that is not read": r"a station of the spine",
    "it shows other places": r"it shows other places",
    "another series is read instead": r"is read as .+ instead|another series has more",
    "an odd series is read": r"is read as .+ although",
    "diffusion": r"diffusion by",
    "a plane or weighting without a role": r"no role wants it",
    "its pixels decide": r"name no weighting",
    "no usable series": r"holds no usable series|no file was found",
    "the patient moved between series": r"moved|shift",
    "the reader was too slow": r"the reader took longer",
    "the reader died": r"the reader process died|the reader stopped|no reader process",
    "the process ended": r"the process ended|no end after|process(es)? (was|were) lost",
    "no sagittal series": r"has no sagittal series",
    "no disc was seen": r"no sagittal slice shows a lumbar disc|no decoded disc",
    "no plausible row of five discs": r"no five discs",
    "no memory": r"no memory|out of memory|continues on the processor|skipped from here on",
    "axial slices without a spine": r"axial slices at the discs show no spine",
    "numbers are not finite": r"are not finite|no finite prediction",
}
"""Phrase → pattern of the sentences that it stands for; the first that matches counts."""

FIXED = frozenset(
    [f"no {role} series" for role in SERIES_DESCRIPTIONS]
    + [
        f"{nothing} {place}"
        for name in LEVEL_NAMES
        for nothing, place in product(
            ("no", "nothing on the"),
            (
                f"axial slice at {name}",
                f"sagittal T2 slice at the canal of {name}",
                *(f"sagittal T1 slice at the {side} foramen of {name}" for side in SIDES),
            ),
        )
    ]
)
"""Sentences that are kept as they are."""


def plain_reason(sentence: str) -> str:
    """The phrase for a sentence, `OTHER` for one that is not known."""
    if sentence in FIXED:
        return sentence
    return next((phrase for phrase, pattern in PHRASES.items() if re.search(pattern, sentence)), OTHER)


def plain_reasons(sentences: Iterable[str]) -> list[str]:
    """The phrases for several sentences, each once, in order."""
    return list(dict.fromkeys(map(plain_reason, sentences)))


def failure_type(name: str) -> str:
    """The name of an exception if it is one, `OTHER` else."""
    return name if name.isidentifier() else OTHER
