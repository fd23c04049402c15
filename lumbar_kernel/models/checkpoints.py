"""Hash-checked safetensors → networks on a device; every key must match."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import safetensors
import torch
from torch import Tensor, nn

from lumbar_kernel.errors import WeightsError
from lumbar_kernel.models.folding import batch_norm_pairs, fold
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import LocaliserSpec, Manifest, MemberSpec, WeightsFile, read_manifest
from lumbar_kernel.models.pointwise import prepare_for_accelerator, prepare_for_processor
from lumbar_kernel.models.replicas import replicator
from lumbar_kernel.models.same_padding import without_copies
from lumbar_kernel.models.storage import from_bytes
from lumbar_kernel.views import VIEWS

ARCHITECTURE_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError)
"""What timm and torch raise for a name, a number of channels or a tensor that does not fit."""

EXAMPLE_SHAPE = (64, 64)
"""Picture on which the folding of a localiser is checked; its networks take any multiple of 32 pixels."""

FOLDING_TOLERANCE = 1e-3
"""Largest difference of an output, absolute and relative, that counts as rounding."""

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class LoadedModels:
    """The networks of a weights folder on a device.

    Attributes:
        manifest: of the weights.
        device: that the networks are on.
        sagittal: localisers of the levels.
        axial: localisers of the recesses.
        members: name → fold checkpoints of each member that could be loaded.
    """

    manifest: Manifest
    device: torch.device
    sagittal: list[HeatmapNet]
    axial: list[HeatmapNet]
    members: dict[str, list[GradeNet]]

    @property
    def networks(self) -> list[nn.Module]:
        """All networks, whatever they are for."""
        return [*self.sagittal, *self.axial, *(net for nets in self.members.values() for net in nets)]

    def return_to_device(self) -> None:
        """Move back what a lack of memory has sent to the processor; a network that still finds none stays there."""
        for net in self.networks:
            try:
                net.to(self.device)
            except torch.cuda.OutOfMemoryError:
                net.to("cpu")

    def on(self, device_name: str) -> LoadedModels:
        """The networks on a device; those of this object are moved, not copied."""
        device = torch.device(device_name)
        if device == self.device:
            return self
        for net in self.networks:
            net.to(device)
            if device.type != "cpu":
                prepare_for_accelerator(net)
        return replace(self, device=device)


def load_models(folder: Path | None, device_name: str, *, strict: bool = False) -> tuple[LoadedModels, dict[str, str]]:
    """The networks of a weights folder on a device, and what could not be loaded, with the reason.

    A member that is missing or damaged is left out; without the axial localiser no axial view is graded.

    Args:
        folder: with `manifest.json`, None for the package's own weights.
        device_name: as torch names devices.
        strict: raise for anything that cannot be loaded.

    Raises:
        WeightsError: the manifest or the sagittal localiser is unusable, or, if strict, anything.
    """
    return load_networks(read_manifest(folder), device_name, strict=strict)


def load_networks(manifest: Manifest, device_name: str, *, strict: bool = False) -> tuple[LoadedModels, dict[str, str]]:
    """The networks of a manifest, which may list some of its folder's checkpoints only; else as `load_models`."""
    failed: dict[str, str] = {}

    def load_or_note(name: str, load: Callable[..., list[Net]], spec: MemberSpec | LocaliserSpec) -> list[Net]:
        try:
            return load(spec, manifest.folder)
        except WeightsError as error:
            if strict:
                raise
            failed[name] = str(error)
            return []

    members = {spec.name: load_or_note(spec.name, load_member, spec) for spec in manifest.members}
    models = LoadedModels(
        manifest=manifest,
        device=torch.device("cpu"),
        sagittal=load_localiser(manifest.sagittal, manifest.folder),
        axial=load_or_note("axial localiser", load_localiser, manifest.axial),
        members={name: nets for name, nets in members.items() if nets},
    )
    return models.on(device_name), failed


def load_localiser(spec: LocaliserSpec, folder: Path) -> list[HeatmapNet]:
    """The heatmap networks of a localiser, in evaluation mode; raises WeightsError."""

    def create() -> HeatmapNet:
        return HeatmapNet(spec.architecture, points=spec.points)

    def example() -> tuple[Tensor, ...]:
        return (_noise(1, 1, *EXAMPLE_SHAPE),)

    return _load_all(create, example, folder, spec.files)


def load_member(spec: MemberSpec, folder: Path) -> list[GradeNet]:
    """The fold checkpoints of a member, in evaluation mode; raises WeightsError."""
    view = VIEWS[spec.view]

    def create() -> GradeNet:
        return GradeNet(spec.architecture, in_chans=spec.in_chans, heads=len(view.groups))

    def example() -> tuple[Tensor, ...]:
        slices = view.geometry.slices if spec.in_chans == 1 else spec.in_chans
        shown = torch.ones(1, slices, dtype=torch.bool)
        return _noise(1, slices, *view.geometry.shape), torch.zeros(1, dtype=torch.long), shown

    return _load_all(create, example, folder, spec.files)


def _load_all(
    create: Callable[[], Net],
    example: Callable[[], tuple[Tensor, ...]],
    folder: Path,
    items: Sequence[WeightsFile],
) -> list[Net]:
    """The networks of one architecture with the weights of each file, batch norms folded; `example` makes inputs."""

    def build(weights: Mapping[str, Tensor]) -> Net:
        net = create()
        net.load_state_dict(weights, assign=True)
        return net

    nets = [_load(build, folder, items[0])]
    replicate = replicator(nets[0])
    nets += [_load(replicate, folder, item) for item in items[1:]]
    inputs = example()
    if pairs := batch_norm_pairs(nets[0], *inputs):
        expected = _outputs(nets[0], inputs)
        fold(nets[0], pairs)
        outputs = _outputs(nets[0], inputs)
        if not torch.allclose(outputs, expected, rtol=FOLDING_TOLERANCE, atol=FOLDING_TOLERANCE):
            nets[0], pairs = _load(build, folder, items[0]), ()  # it uses a convolution in more than one way
        for net in nets[1:]:
            fold(net, pairs)
    for net in nets:
        without_copies(net)
        prepare_for_processor(net)
    return [net.to(memory_format=torch.channels_last) for net in nets]


def _load(network_with: Callable[[Mapping[str, Tensor]], Net], folder: Path, item: WeightsFile) -> Net:
    """A network with its weights, in evaluation mode; every key must match and the file's hash must be right."""
    path = folder / item.file
    try:
        raw = path.read_bytes()
    except OSError as error:
        msg = f"weights {path} cannot be read: {error}"
        raise WeightsError(msg) from error
    if hashlib.sha256(raw).hexdigest() != item.sha256:
        msg = f"weights {path} do not have the SHA-256 that the manifest names; copy the file again"
        raise WeightsError(msg)
    try:
        net = network_with(from_bytes(raw))
    except (*ARCHITECTURE_ERRORS, safetensors.SafetensorError) as error:
        msg = f"weights {path} do not fit the architecture that the manifest names: {error}"
        raise WeightsError(msg) from error
    return net.eval()


def _outputs(net: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.inference_mode():
        outputs: Tensor = net(*inputs)
    return outputs


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
