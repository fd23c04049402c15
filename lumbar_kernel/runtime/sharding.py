"""How many workers there are, which of them grades which studies, how many at once, and which studies are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lumbar_kernel.config import Config
from lumbar_kernel.runtime.devices import CPU
from lumbar_kernel.runtime.messages import Shard
from lumbar_kernel.study import StudyFiles

STUDIES_AT_ONCE, STUDIES_AT_ONCE_ON_ACCELERATORS = 2, 8
"""Studies graded together: enough crops for full batches, few enough for early grades."""

MAX_WORKERS_EACH = 12
"""Most workers of one device, since each takes half a gigabyte."""


def studies_at_once(device: str) -> int:
    """Studies that are graded together on a device."""
    return STUDIES_AT_ONCE if device == CPU else STUDIES_AT_ONCE_ON_ACCELERATORS


def worker_devices(working: Sequence[str], *, studies: int, cores: int) -> tuple[str, ...]:
    """The device of each worker: a device that several workers share is named several times.

    A worker on the processor computes on one thread, so that as many workers as cores keep all of them busy without
    waiting for one another. Accelerators get three workers for every four cores, which these share with their readers:
    beside an H200 with 16 cores twelve graded 320 studies in 28.3 s, eight in 31.4 s. There are no more workers than
    blocks of studies that are graded together.

    Args:
        working: devices of the run; a device that the user named twice keeps its two workers.
        studies: of the run.
        cores: of the processor.
    """
    if len(set(working)) < len(working):
        return tuple(working)
    each = cores if set(working) == {CPU} else math.ceil(3 * cores / (4 * len(working)))
    most = math.ceil(studies / studies_at_once(working[0]))
    return (tuple(working) * max(1, min(each, MAX_WORKERS_EACH)))[: max(most, 1)]


def studies_to_draw(config: Config, studies: Sequence[StudyFiles]) -> frozenset[str]:
    """The studies that are drawn: the first ones, as many as the run asks for."""
    return frozenset(item.study_id for item in studies[: config.pictures_to_draw])


def shards(
    studies: Sequence[StudyFiles], devices: Sequence[str], *, drawn: frozenset[str] = frozenset()
) -> list[Shard]:
    """Whole blocks of studies assigned to the devices in turn; no shard is empty.

    Workers of accelerators share out the last blocks in equal parts. Those of the processor do not, so that whatever
    the number of cores each study has the same companions in its batches, and the same grades to the last bit.
    """
    size, count = studies_at_once(devices[0]), len(devices)
    whole = len(studies) if devices[0] == CPU else len(studies) // (size * count) * size * count
    each, more = divmod(len(studies) - whole, count)
    ends = [whole + k * each + min(k, more) for k in range(count + 1)]
    assigned = [
        [item for start in range(k * size, whole, size * count) for item in studies[start : start + size]]
        + list(studies[ends[k] : ends[k + 1]])
        for k in range(count)
    ]
    return [
        Shard(k, tuple(items), device, drawn=drawn)
        for k, (items, device) in enumerate(zip(assigned, devices, strict=True))
        if items
    ]
