"""The packages that inference needs. The wheel does not require them, so that pip leaves those of a Kaggle image."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from lumbar_kernel.errors import DependencyError

PACKAGES = {
    "torch": "torch",
    "timm": "timm",
    "pydicom": "pydicom",
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "tqdm": "tqdm",
    "safetensors": "safetensors",
}
"""Name of each module that inference imports → the package that brings it."""

ARCHIVE_PACKAGES = {"ray": "ray", "pyarrow": "pyarrow", "fsspec": "fsspec"}


def require_dependencies() -> None:
    """Check that every package of `PACKAGES` is installed, without importing it.

    Raises:
        DependencyError: naming the missing ones and the command that installs them.
    """
    _require(PACKAGES, extra="runtime")


def require_structured_reports() -> None:
    """The same for highdicom, which only Structured Reports need."""
    _require({"highdicom": "highdicom"}, extra="dicom")


def require_archive() -> None:
    """The same for the packages that only archives need."""
    _require(ARCHIVE_PACKAGES, extra="archive")


def _require(packages: Mapping[str, str], *, extra: str) -> None:
    """Raise DependencyError where one of the packages of an extra is not installed; pip knows the extra by then."""
    missing = [package for module, package in packages.items() if find_spec(module) is None]
    if missing:
        msg = (
            f"not installed: {', '.join(missing)}; `pip install 'lumbar-kernel[{extra}]'` installs all that is missing"
        )
        raise DependencyError(msg)
