"""The two folders that the `kaggle` client uploads, with metadata that name their owner."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

PLACEHOLDER = "OWNER"
"""Stands for the owner in the `kernel-metadata.json` of the repository."""

OWNER = re.compile(r"[a-z0-9][a-z0-9-]{2,49}")
"""A Kaggle user name as it appears in the address of a profile."""

TITLE = "Lumbar Kernel Wheel"
SUBTITLE = "Offline inference for RSNA 2024 lumbar spine: wheel and weights"
DESCRIPTION = (
    "The lumbar_kernel wheel with its trained weights, their manifest and checksums. Attach it to a notebook without "
    "internet; inference.ipynb of the project installs it and writes submission.csv. For research, not for clinical "
    "use. Code: Apache-2.0. Weights: CC BY-NC 4.0."
)
LICENCE = "CC-BY-NC-4.0"


class OwnerError(ValueError):
    """Not a user name of the platform."""


def write_dataset_metadata(kernel: Path, folder: Path, owner: str) -> None:
    """Write `dataset-metadata.json` into the dataset's folder.

    Args:
        kernel: the repository's `kernel-metadata.json`, which names the dataset, so that the two cannot differ.
        folder: gets the file.
        owner: user name on Kaggle.

    Raises:
        OwnerError: the name cannot be one.
    """
    metadata = {
        "title": TITLE,
        "id": owned(kernel, owner)["dataset_sources"][0],
        "subtitle": SUBTITLE,
        "description": DESCRIPTION,
        "licenses": [{"name": LICENCE}],
        "keywords": [],
    }
    _write(metadata, folder / "dataset-metadata.json")


def write_notebook_folder(kernel: Path, folder: Path, owner: str) -> None:
    """Write the notebook and its `kernel-metadata.json` into a folder, which is replaced.

    Args:
        kernel: the repository's `kernel-metadata.json`; the notebook lies beside it.
        folder: to write.
        owner: user name on Kaggle.

    Raises:
        OwnerError: the name cannot be one.
    """
    metadata = owned(kernel, owner)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(kernel.parent / metadata["code_file"], folder / metadata["code_file"])
    _write(metadata, folder / kernel.name)


def owned(kernel: Path, owner: str) -> dict[str, Any]:
    """The notebook's metadata with the owner in place of the placeholder; raises OwnerError."""
    if not OWNER.fullmatch(owner):
        msg = f"{owner!r} is not a Kaggle user name: lower-case letters, digits, hyphens, as in your profile's address"
        raise OwnerError(msg)
    text = kernel.read_text(encoding="utf-8").replace(f"{PLACEHOLDER}/", f"{owner}/")
    metadata: dict[str, Any] = json.loads(text)
    return metadata


def _write(metadata: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
