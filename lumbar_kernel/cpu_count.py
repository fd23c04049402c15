"""How many processor cores this process may use: the one count that readers and workers follow."""

from __future__ import annotations

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux tells a container its share of the processors (control group v2): microseconds of time, and of which
period, or "max"."""


def usable_cpus(quota: Path = QUOTA) -> int:
    """Cores that this process may run on, not more than its container's quota allows, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time, period = quota.read_text(encoding="ascii").split()
        share = math.ceil(int(time) / int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return allowed
    return max(1, min(allowed, share))
