"""Everything that grading needs from the weights folder, loaded on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lumbar_kernel.checkpoints import (
    LocaliserSpec,
    Manifest,
    MemberSpec,
    Net,
    load_localiser,
    load_member,
    read_manifest,
)
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


def load_tools(config: Config, device_name: str) -> tuple[Tools, dict[str, str]]:
    """The nets of the manifest on a device, and what cannot be loaded, with the reason.

    A member that is missing or damaged is left out; without the axial localiser no axial view is graded.

    Raises:
        WeightsError: the manifest or the sagittal localiser is unusable, or, in a strict run, anything.
    """
    manifest, device = read_manifest(config.weights), torch.device(device_name)
    failed: dict[str, str] = {}

    def loaded(name: str, load: Callable[..., list[Net]], spec: MemberSpec | LocaliserSpec) -> list[Net]:
        try:
            return load(spec, manifest.folder, device=device)
        except WeightsError as error:
            if config.strict:
                raise
            failed[name] = str(error)
            return []

    members = {spec.name: loaded(spec.name, load_member, spec) for spec in manifest.members}
    tools = Tools(
        manifest=manifest,
        device=device,
        sagittal=load_localiser(manifest.sagittal, manifest.folder, device=device),
        axial=loaded("axial localiser", load_localiser, manifest.axial),
        members={name: nets for name, nets in members.items() if nets},
    )
    return tools, failed
