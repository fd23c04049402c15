"""Where the real studies lie beside the checkout, unpacked once per test session."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def unpack(pack: str, *archives: str, into: Path) -> Path:
    """Unzip archives of one data pack, or skip the test where the packs are absent."""
    for archive in archives:
        source = SHARED / pack / archive
        if not source.is_file():
            pytest.skip(f"the real data are absent: {source.name} of {pack} is needed beside the checkout")
        with zipfile.ZipFile(source) as file:
            file.extractall(into)
    return into
