"""How often something can be called in a second."""

from __future__ import annotations

import time
from collections.abc import Callable


def calls_a_second(call: Callable[[], object], *, seconds: float) -> float:
    """The rate of as many calls as fit into some seconds, after one to warm up."""
    call()
    began, calls = time.monotonic(), 0
    while (spent := time.monotonic() - began) < seconds:
        call()
        calls += 1
    return calls / spent
