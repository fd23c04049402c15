"""Execute a notebook as Kaggle does: parameters after the tagged cell, one kernel, stop at the first error.

Runs as a script inside the wheel-only environment of the replay, so it uses nothing of this repository.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

PARAMETERS = "parameters"


def with_parameters(notebook: nbformat.NotebookNode, values: dict[str, Any]) -> nbformat.NotebookNode:
    """Put a cell with these values behind the cell tagged `parameters`, as papermill does.

    Raises:
        ValueError: there is not exactly one cell with that tag.
    """
    tagged = [index for index, cell in enumerate(notebook.cells) if PARAMETERS in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        msg = f"{len(tagged)} cells have the tag {PARAMETERS!r}; exactly one must"
        raise ValueError(msg)
    source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(tagged[0] + 1, cell)
    return notebook


def main() -> int:
    """Execute and save the notebook, also when a cell fails; returns 1 then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("executed", type=Path, help="path for the notebook with its outputs")
    parser.add_argument("--kernel", default="python3")
    parser.add_argument("--parameters", type=json.loads, default={}, help="as a JSON object")
    arguments = parser.parse_args()
    notebook = with_parameters(nbformat.read(arguments.notebook, as_version=4), arguments.parameters)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name=arguments.kernel,
        resources={"metadata": {"path": str(arguments.executed.parent)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        nbformat.write(notebook, arguments.executed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
