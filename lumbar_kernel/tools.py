"""Everything that grading needs from the weights folder, loaded on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lumbar_kernel.checkpoints import Manifest, load_localiser, load_member, read_manifest
from lumbar_kernel.config import Config
from lumbar_kernel.errors import WeightsError
from lumbar_kernel.grade import GradeNet
from lumbar_kernel.heatmaps import HeatmapNet


@dataclass(frozen=True, eq=False)
class Tools:
    """What was loaded.

    Attributes:
        manifest: of the weights.
        device: that the nets are on.
        sagittal: localisers of the levels.
        axial: localisers of the recesses.
        members: name → fold checkpoints of each member that could be loaded.
    """

    manifest: Manifest
    device: torch.device
    sagittal: list[HeatmapNet]
    axial: list[HeatmapNet]
    members: dict[str, list[GradeNet]]


def load_tools(config: Config, name: str) -> tuple[Tools, dict[str, str]]:
    """The nets of the manifest on a device, and the members that cannot be loaded with the reason.

    Raises:
        WeightsError: the manifest or a localiser is unusable, or, in a strict run, any member.
    """
    manifest, device = read_manifest(config.weights), torch.device(name)
    members, failed = {}, {}
    for spec in manifest.members:
        try:
            members[spec.name] = load_member(spec, manifest.folder, device=device)
        except WeightsError as error:
            if config.strict:
                raise
            failed[spec.name] = str(error)
    tools = Tools(
        manifest=manifest,
        device=device,
        sagittal=load_localiser(manifest.sagittal, manifest.folder, device=device),
        axial=load_localiser(manifest.axial, manifest.folder, device=device),
        members=members,
    )
    return tools, failed
