"""Everything that grading needs from the weights folder, loaded on a device that works."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from lumbar_kernel.checkpoints import Manifest, load_localiser, load_member, read_manifest
from lumbar_kernel.config import Config
from lumbar_kernel.errors import WeightsError
from lumbar_kernel.grade import GradeNet
from lumbar_kernel.heatmaps import HeatmapNet

logger = logging.getLogger(__name__)


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


def pick_device(name: str) -> torch.device:
    """The device asked for; "auto" takes CUDA only where a real operation works on it.

    An old card may be reported as available and still fail at the first kernel, so a product is computed.
    """
    if name != "auto":
        return torch.device(name)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    try:
        probe = torch.ones(8, 8, device="cuda")
        if float((probe @ probe).sum().item()) == 512.0:
            return torch.device("cuda")
    except (RuntimeError, AssertionError) as error:
        logger.warning("the GPU does not work (%s), grading on the processor", error)
    return torch.device("cpu")


def load_tools(config: Config) -> tuple[Tools, dict[str, str]]:
    """The nets of the manifest, and the members that cannot be loaded with the reason.

    Raises:
        WeightsError: the manifest or a localiser is unusable, or, in a strict run, any member.
    """
    manifest, device = read_manifest(config.weights), pick_device(config.device)
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
