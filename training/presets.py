"""What a recipe trains: localisers and members with their backbones, folds and lengths, from minutes to days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lumbar_kernel.models.compact_cnn import COMPACT_CNN

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

    def run(self, fold: int) -> str:
        """Name of its run without a fold."""
        return f"{self.name}_{fold}"

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of its runs, in the order of the folds."""
        return tuple(self.run(fold) for fold in self.folds)


@dataclass(frozen=True, kw_only=True)
class Localiser(Network):
    """A localiser, exported under the name of its task."""

    command: str = "train_landmarks"
    batch: int = 32


@dataclass(frozen=True, kw_only=True)
class Member(Network):
    """An ensemble member.

    Attributes:
        member: the name under which it is exported.
        weight: for each condition that its view shows, before fitting.
        taught: whether it learns from the predictions of other models too, where there are any.
    """

    member: str
    weight: float
    command: str = "train_grader"
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
    *,
    folds: tuple[int, ...],
    axial_folds: tuple[int, ...],
    epochs: float = 11,
    axial_epochs: float = 17,
    steps: int | None = None,
    backbone: str = MOBILENET,
) -> tuple[Localiser, ...]:
    """The localiser of the levels and that of the recesses, of which the packs have fewer examples."""
    sagittal = Localiser(
        name="sagittal",
        task="sagittal",
        folds=folds,
        epochs=epochs,
        steps=steps,
        backbone=backbone,
    )
    axial = replace(sagittal, name="axial_points", task="axial", folds=axial_folds, epochs=axial_epochs)
    return sagittal, axial


# The sagittal T2 member of the packs was never trained on a reader's grade: its small weight counts only where there is
# no axial slice.
SMOKE = Preset(
    name="smoke",
    phantoms=10,
    localisers=localisers(folds=TWO, axial_folds=TWO, backbone=TINY, steps=100),
    members=tuple(
        Member(name=task, member=member, task=task, folds=TWO, epochs=1, steps=20, backbone=TINY, weight=weight)
        for member, task, weight in (
            ("foraminal_t1", "foraminal", 1.0),
            ("axial_t2", "axial", 1.0),
            ("canal_t2", "canal", 0.15),
        )
    ),
)
"""Minutes on two cores, whatever the data: enough to find levels in most studies, not to grade them."""

# Taught by other models, foraminal members get better one by one but not together, since they err more alike.
SMALL = Preset(
    name="small",
    phantoms=400,
    localisers=localisers(folds=TWO, axial_folds=FOUR),
    members=(
        Member(
            name="foraminal_lite",
            member="foraminal_t1_lite",
            task="foraminal",
            folds=FOUR,
            epochs=8,
            weight=0.5,
            backbone=LITE,
            taught=False,
            batch=128,
            options=("--pretrained", "--lr", "1.2e-3", "--mixup-prob", "0.3", "--drop-rate", "0.4"),
        ),
        Member(
            name="foraminal_compact",
            member="foraminal_t1_compact",
            task="foraminal",
            folds=FOUR,
            epochs=14,
            weight=0.5,
            backbone=COMPACT_CNN,
            taught=False,
            options=("--lr", "2e-3", "--mixup-prob", "0.3", "--drop-rate", "0.5"),
        ),
        Member(
            name="axial",
            member="axial_t2",
            task="axial",
            folds=FOUR,
            epochs=10,
            weight=0.5,
            options=("--mixup-prob", "0.2"),
        ),
        Member(
            name="axial_lite",
            member="axial_t2_lite",
            task="axial",
            folds=FOUR,
            epochs=5,
            weight=0.5,
            backbone=LITE,
            options=("--pretrained", "--lr", "8e-4", "--mixup-prob", "0.4", "--drop-rate", "0.4"),
        ),
        Member(name="canal", member="canal_t2", task="canal", folds=(0,), epochs=17, weight=0.15),
    ),
)

# Auxiliary heads gave winners a hundredth with large networks on whole studies; the small members on packs gained none.
FINE = ("--lr", "3e-4", "--mixup-prob", "0.3", "--drop-rate", "0.4", "--auxiliary-weight", "0.2")
STRONG_BACKBONES = (("convnext", "convnext_tiny"), ("effnetv2", "tf_efficientnetv2_s"))
STRONG = Preset(
    name="strong",
    phantoms=400,
    localisers=localisers(
        folds=ALL_FOLDS, axial_folds=ALL_FOLDS, epochs=15, axial_epochs=7.5, backbone="mobilenetv4_conv_small"
    ),
    members=tuple(
        Member(
            name=f"{task}_{short}",
            member=f"{task}_{short}",
            task=f"{task}_fine",
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
"""Six members of five folds on true-resolution stacks of whole studies, with auxiliary heads while they learn, for the
owner of the challenge's data."""

PRESETS = {preset.name: preset for preset in (SMOKE, SMALL, STRONG)}
