"""What a recipe trains: localisers and members with their backbones, folds and lengths, from minutes to days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lumbar_kernel.models.compact_cnn import COMPACT_CNN
from lumbar_kernel.schema import CANAL, FORAMINAL, SUBARTICULAR

MOBILENET, LITE, TINY = "mobilenetv3_small_100", "tf_efficientnet_lite0", "mobilenetv3_small_050"
TWO, FOUR, ALL_FOLDS = (0, 1), (0, 1, 2, 3), (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network, trained once for each fold that is left out.

    Attributes:
        name: of its runs, followed by the fold.
        command: module of `training` that trains it.
        task: what that command learns.
        folds: each gives a checkpoint.
        epochs: length of a run.
        steps: length in batches in place of the epochs, where a run must not grow with the data; None where it may.
        backbone: as in `GradeNet`, for a localiser a timm model name.
        batch: examples of a step.
        options: further arguments of the command.
        compiled: whether it is compiled on a GPU.
    """

    name: str
    command: str
    task: str
    folds: tuple[int, ...]
    epochs: float
    steps: int | None = None
    backbone: str = MOBILENET
    batch: int = 64
    options: tuple[str, ...] = ()
    compiled: bool = False

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of its runs, in the order of the folds."""
        return tuple(f"{self.name}_{fold}" for fold in self.folds)


@dataclass(frozen=True, kw_only=True)
class Localiser(Network):
    """A localiser; `points` landmarks, exported under the name `role`."""

    role: str
    points: int


@dataclass(frozen=True, kw_only=True)
class Member(Network):
    """An ensemble member.

    Attributes:
        member: the name under which it is exported.
        weight: for each condition, before fitting.
        taught: whether it learns from the predictions of other models too, where there are any.
    """

    member: str
    weight: tuple[tuple[str, float], ...]
    taught: bool = True


@dataclass(frozen=True)
class Preset:
    """Everything that a recipe trains under a name, and from how many phantoms."""

    name: str
    phantoms: int
    localisers: tuple[Localiser, ...]
    members: tuple[Member, ...]

    def networks(self) -> Iterator[Network]:
        """In the order of training: localisers first, since graders learn with their errors."""
        yield from self.localisers
        yield from self.members


def localisers(
    *, folds: tuple[int, ...], axial_folds: tuple[int, ...], epochs: float = 11, **changes
) -> tuple[Localiser, ...]:
    """The localiser of the levels and that of the recesses, the second with half the epochs."""
    sagittal = {"role": "sagittal", "points": 10, "name": "sagittal", "task": "sagittal"}
    axial = {"role": "axial", "points": 2, "name": "axial_points", "task": "axial"}
    common = {"command": "train_landmarks", "batch": 32, **changes}
    return (
        Localiser(**sagittal, folds=folds, epochs=epochs, **common),
        Localiser(**axial, folds=axial_folds, epochs=epochs / 2, **common),
    )


def member(
    name: str, task: str, *, folds: tuple[int, ...], epochs: float, weight: float, run: str = "", **changes
) -> Member:
    """A grader; `weight` counts for every condition that its view shows."""
    groups = {"foraminal": (FORAMINAL,), "axial": (CANAL, SUBARTICULAR), "canal": (CANAL,)}[task.partition("_")[0]]
    return Member(
        name=run or name,
        member=name,
        command="train_grader",
        task=task,
        folds=folds,
        epochs=epochs,
        weight=tuple((group, weight) for group in groups),
        **changes,
    )


# The sagittal T2 member of the packs was never trained on a reader's grade: its small weight counts only where there is
# no axial slice.
FEW = {"folds": TWO, "epochs": 1, "backbone": TINY, "steps": 20}
SMOKE = Preset(
    name="smoke",
    phantoms=10,
    localisers=localisers(folds=TWO, axial_folds=TWO, epochs=1, backbone=TINY, steps=100),
    members=(
        member("foraminal_t1", "foraminal", weight=1.0, run="foraminal", **FEW),
        member("axial_t2", "axial", weight=1.0, run="axial", **FEW),
        member("canal_t2", "canal", weight=0.15, run="canal", **FEW),
    ),
)
"""Minutes on two cores, whatever the data: enough to find levels in most studies, not to grade them."""

# Taught by other models, foraminal members get better one by one but not together, since they err more alike.
SMALL = Preset(
    name="small",
    phantoms=400,
    localisers=localisers(folds=TWO, axial_folds=FOUR),
    members=(
        member(
            "foraminal_t1_lite",
            "foraminal",
            folds=FOUR,
            epochs=8,
            weight=0.5,
            run="foraminal_lite",
            backbone=LITE,
            taught=False,
            batch=128,
            options=("--pretrained", "--lr", "1.2e-3", "--mixed", "0.3", "--drop-rate", "0.4"),
        ),
        member(
            "foraminal_t1_compact",
            "foraminal",
            folds=FOUR,
            epochs=14,
            weight=0.5,
            run="foraminal_compact",
            backbone=COMPACT_CNN,
            taught=False,
            options=("--lr", "2e-3", "--mixed", "0.3", "--drop-rate", "0.5"),
        ),
        member(
            "axial_t2",
            "axial",
            folds=FOUR,
            epochs=10,
            weight=0.5,
            run="axial",
            options=("--mixed", "0.2"),
        ),
        member(
            "axial_t2_lite",
            "axial",
            folds=FOUR,
            epochs=5,
            weight=0.5,
            run="axial_lite",
            backbone=LITE,
            options=("--pretrained", "--lr", "8e-4", "--mixed", "0.4", "--drop-rate", "0.4"),
        ),
        member("canal_t2", "canal", folds=(0,), epochs=17, weight=0.15, run="canal"),
    ),
)

FINE = ("--lr", "3e-4", "--mixed", "0.3", "--drop-rate", "0.4")
STRONG_BACKBONES = (("convnext", "convnext_tiny"), ("effnetv2", "tf_efficientnetv2_s"))
STRONG = Preset(
    name="strong",
    phantoms=400,
    localisers=localisers(folds=ALL_FOLDS, axial_folds=ALL_FOLDS, epochs=15, backbone="mobilenetv4_conv_small"),
    members=tuple(
        member(
            f"{task}_{short}",
            f"{task}_fine",
            folds=ALL_FOLDS,
            epochs=12,
            weight=0.5,
            backbone=backbone,
            options=FINE,
            compiled=True,
            batch=32,
        )
        for task in ("foraminal", "axial", "canal")
        for short, backbone in STRONG_BACKBONES
    ),
)
"""Six members of five folds on true-resolution stacks of whole studies, for the owner of the challenge's data."""

PRESETS = {preset.name: preset for preset in (SMOKE, SMALL, STRONG)}
