"""Weights that grade as the package's own do, with fewer networks, for tests and benchmarks of many runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from lumbar_kernel.models.manifest import MANIFEST, weights_folder


def light_weights(folder: Path) -> Path:
    """The package's weights with one checkpoint of each localiser and of one member a view: quick, and real."""
    source = weights_folder()
    manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    by_view = {entry["view"]: (name, entry) for name, entry in reversed(manifest["members"].items())}
    manifest["members"] = dict(by_view.values())
    folder.mkdir(parents=True, exist_ok=True)
    for entry in (*manifest["localisers"].values(), *manifest["members"].values()):
        entry["files"] = entry["files"][:1]
        shutil.copy(source / entry["files"][0]["file"], folder)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder
