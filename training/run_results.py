"""What a finished run leaves in its folder besides its weights: its settings and its last metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lumbar_kernel.results.atomic import write_atomic

RESULT = "result.json"


def write(run: Path, settings: Mapping[str, object], metrics: Mapping[str, float]) -> None:
    """Mark a run as finished."""
    as_text = {name: str(value) for name, value in settings.items()}
    write_atomic(json.dumps({"settings": as_text, "metrics": metrics}, indent=1) + "\n", run / RESULT)


def withdraw(run: Path) -> None:
    """Mark a run as unfinished, since it is trained again or further."""
    (run / RESULT).unlink(missing_ok=True)


def is_finished(run: Path) -> bool:
    """Whether a run has been trained to its end."""
    return (run / RESULT).is_file()


def settings_of(run: Path) -> dict[str, str]:
    """The settings of a finished run as text; raises FileNotFoundError where it is not finished."""
    settings: dict[str, str] = json.loads((run / RESULT).read_text())["settings"]
    return settings
