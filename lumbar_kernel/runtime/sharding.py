"""Shards: which worker grades which studies, and which studies are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from lumbar_kernel.config import Config
from lumbar_kernel.runtime.messages import Shard, studies_at_once
from lumbar_kernel.study import StudyFiles


def studies_to_draw(config: Config, studies: Sequence[StudyFiles]) -> frozenset[str]:
    """The studies that are drawn: the first ones, as many as the run asks for."""
    return frozenset(item.study_id for item in studies[: config.pictures_to_draw])


def shards(
    studies: Sequence[StudyFiles], devices: Sequence[str], *, drawn: frozenset[str] = frozenset()
) -> list[Shard]:
    """Whole blocks of studies assigned to the devices in turn; no shard is empty."""
    size = studies_at_once(devices[0])
    blocks = [studies[start : start + size] for start in range(0, len(studies), size)]
    assigned = [[item for block in blocks[k :: len(devices)] for item in block] for k in range(len(devices))]
    return [
        Shard(k, tuple(items), device, drawn=drawn)
        for k, (items, device) in enumerate(zip(assigned, devices, strict=True))
        if items
    ]
