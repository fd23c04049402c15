"""Offline inference kernel for lumbar-spine MRI: DICOM studies in, `submission.csv` out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

__all__ = ["Config", "Grades", "Kernel", "KernelError", "Report", "__version__", "predict", "read_studies"]

_HOMES = {
    "Config": "lumbar_kernel.config",
    "Grades": "lumbar_kernel.kernel",
    "Kernel": "lumbar_kernel.kernel",
    "KernelError": "lumbar_kernel.errors",
    "Report": "lumbar_kernel.results.report",
    "predict": "lumbar_kernel.runtime.supervisor",
    "read_studies": "lumbar_kernel.kernel",
}

NEEDS_PACKAGES = ("lumbar_kernel.kernel", "lumbar_kernel.runtime.supervisor")
"""Modules that import what the wheel does not require."""

if TYPE_CHECKING:
    from lumbar_kernel.config import Config
    from lumbar_kernel.errors import KernelError
    from lumbar_kernel.kernel import Grades, Kernel, read_studies
    from lumbar_kernel.results.report import Report
    from lumbar_kernel.runtime.supervisor import predict


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import lumbar_kernel` costs nothing."""
    if name in _HOMES:
        if _HOMES[name] in NEEDS_PACKAGES:
            import_module("lumbar_kernel.dependencies").require_dependencies()
        return getattr(import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
