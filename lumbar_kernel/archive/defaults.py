"""What `archive` does unless it is told otherwise; free of Ray and pyarrow, so that the command line can name it."""

from __future__ import annotations

from lumbar_kernel.runtime.devices import AUTO, CPU

SHARD_STUDIES = 64
"""What is graded again when a node is lost, and what one file of results holds."""

CUDA = "cuda"

DEVICES = (AUTO, CPU, CUDA)
"""What may grade, the default first."""
