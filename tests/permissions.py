"""Running Python so that permissions hold even for root, as whom containers run tests."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def run_bound_by_permissions(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments; a root that starts a program without these capabilities is a mere owner."""
    return subprocess.run(
        [sys.executable, *arguments], preexec_fn=_drop, capture_output=True, text=True, timeout=120, check=False
    )


def _drop() -> None:
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
