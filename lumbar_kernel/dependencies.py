"""The packages that inference needs. The wheel does not require them, so that pip leaves those of a Kaggle image."""

from __future__ import annotations

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

INSTALL = "pip install 'lumbar-kernel[runtime]'"


def require_dependencies() -> None:
    """Check that every package of `PACKAGES` is installed, without importing it.

    Raises:
        DependencyError: naming the missing ones and the command that installs them.
    """
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        msg = f"not installed: {', '.join(missing)}; `{INSTALL}` installs all of them"
        raise DependencyError(msg)


def require_structured_reports() -> None:
    """Check that highdicom is installed, which only Structured Reports need.

    Raises:
        DependencyError: naming the command that installs it.
    """
    if find_spec("highdicom") is None:
        msg = "not installed: highdicom; `pip install 'lumbar-kernel[dicom]'` installs it"
        raise DependencyError(msg)
