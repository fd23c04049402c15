"""Sentences of a report for people to look at: no path, no file name, one line for many files of one kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from lumbar_kernel.schema import LEVEL_NAMES, SERIES_DESCRIPTIONS, SEVERITY_NAMES

FROM_ROOT = re.compile(r"(?<![\w/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\":;,]+[/\\])+[^\s'\":;,]*")
DICOM_FILE = re.compile(r"(?:[^\s/\\'\":;]+[/\\])*[^\s/\\'\":;]+\.(?:dcm|dicom|ima)\b", re.IGNORECASE)
SUBJECT = re.compile(r"(?:^|(?<=: )|(?<=; ))([^:;]*[/\\][^:;]*)(?=: )")
"""What a part of a sentence is about, where it has a slash: `folder/file` in `folder/file: reason`."""
OUR_SLASHES = re.compile("|".join(map(re.escape, (*LEVEL_NAMES, *SEVERITY_NAMES, *SERIES_DESCRIPTIONS))))

A_FILE = "a file"


def without_paths(sentences: Iterable[str]) -> list[str]:
    """The sentences without folders and names of files, which may name a patient; equal ones once, with their count."""
    counted = Counter(_without_paths(sentence) for sentence in sentences)
    return [f"{words} ({count} times)" if count > 1 else words for words, count in counted.items()]


def _without_paths(sentence: str) -> str:
    without_roots = FROM_ROOT.sub(A_FILE, sentence)
    return DICOM_FILE.sub(A_FILE, SUBJECT.sub(_subject, without_roots))


def _subject(found: re.Match[str]) -> str:
    words = found.group(1)
    return A_FILE if re.search(r"[/\\]", OUR_SLASHES.sub("", words)) else words
