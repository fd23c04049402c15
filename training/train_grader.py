"""Train a `GradeNet`: `python -m training.train_grader foraminal|axial|canal CACHE RUN [--fold 0]`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lumbar_kernel.models.grade_net import GradeNet, to_input
from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import SEVERITY_WEIGHTS
from lumbar_kernel.views import VIEWS
from training.augment import Spatial, draw_matrix, vary_signal, warp
from training.examples import GradeExamples, concatenate, load_grades, select
from training.predictions import window_grades
from training.pretrained import start_from_grader, start_from_pretrained
from training.trainer import Pools, Trainer, example_files, run_parser, steps_of, validation_indices, write_result


@dataclass(frozen=True)
class Task:
    """A training task.

    Attributes:
        view: key of `views.VIEWS`.
        files: names of example files.
        draw: weight of each source in a batch.
        in_chans: as in `GradeNet`.
        spatial: ranges of the spatial augmentation.
        beside: how often the middle of a stack moves by one slice, as where the localiser is off by one.
        missing: how often each slice of a stack is left out, of those that `GradeNet` can do without.
    """

    view: str
    files: tuple[str, ...]
    draw: dict[str, float]
    in_chans: int
    spatial: Spatial
    beside: float = 0.0
    missing: float = 0.0


# Shifts of 0.06 of the window are 3 mm: about the localiser's own error. Scale covers the unknown spacing of packs.
SPATIAL = Spatial(shift=0.06, degrees=12, scale=1.15, aspect=1.08, border=cv2.BORDER_REFLECT_101)

# The window already follows the recesses: what remains is the error of their places.
POSED = Spatial(shift=0.05, degrees=8, scale=1.12, aspect=1.08, border=cv2.BORDER_REFLECT_101)

ALONE = 0.15
"""How often the middle slice replaces its neighbours, as at the edge of a series and in single slices."""

TASKS = {
    "foraminal": Task(
        view="sagittal_t1",
        files=("foramina", "rsna_foramina", "phantom_foramina"),
        draw={"sagittal_t1": 0.75, "rsna": 0.75, "phantom": 0.25},
        in_chans=1,
        spatial=SPATIAL,
        beside=0.4,
        missing=0.2,
    ),
    "axial": Task(
        view="axial_t2",
        files=("axial", "rsna_axial", "phantom_axial"),
        draw={"axial_t2_crops": 0.65, "rsna": 0.65, "phantom": 0.35},
        in_chans=3,
        spatial=POSED,
        beside=0.3,
    ),
    "canal": Task(
        view="sagittal_t2",
        files=("canal", "rsna_canal", "phantom_canal"),
        draw={"rsna": 3.0, "sudirman_sagittal": 0.3, "phantom": 0.7},
        in_chans=3,
        spatial=SPATIAL,
    ),
}

TASKS |= {
    f"{name}_fine": replace(
        task, view=f"{task.view}_fine", files=tuple(f"{file}_fine" for file in task.files[1:]), in_chans=1, beside=0.4
    )
    for name, task in TASKS.items()
}
"""The same on true-resolution crops of whole studies, whose slices are encoded one by one and pooled."""


class Sampler:
    """Draws augmented batches of the training folds, each source with its weight."""

    def __init__(
        self, examples: GradeExamples, task: Task, *, fold: int, batch: int, seed: int, mixed: float = 0.0
    ) -> None:
        self.examples, self.task, self.batch, self.seed, self.mixed = examples, task, batch, seed, mixed
        self.shape = VIEWS[task.view].geometry.shape
        self.pools = Pools(examples.source, examples.fold, task.draw, fold=fold)

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """Pictures, levels, slices there are, labels, labels of the pictures mixed in, fraction of the first ones.

        The same step gives the same batch.
        """
        rng = np.random.default_rng((self.seed, step))
        chosen = self.pools.draw(rng, self.batch)
        stacks, there = zip(*(self._stack(index, rng) for index in chosen), strict=True)
        pictures, shown = to_input(np.stack(stacks), in_chans=self.task.in_chans), np.stack(there)
        level, labels = (values[chosen].astype(np.int64) for values in (self.examples.level, self.examples.labels))
        partner = _partners(level, rng)
        fraction = np.where(rng.random(self.batch) < self.mixed, rng.beta(0.4, 0.4, self.batch), 1.0).astype(np.float32)
        broad = fraction[:, None, None, None]
        pictures = broad * pictures + (1 - broad) * pictures[partner]
        shown = shown | (shown[partner] & (fraction < 1)[:, None])
        return (
            torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last),
            *(torch.from_numpy(values) for values in (level, shown, labels, labels[partner], fraction)),
        )

    def _stack(self, index: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A stack with moved, left out and varied slices, and which slices it has."""
        order, shown = arranged(self.examples.shown[index], self.task, rng)
        stack = self.examples.images[index][order]
        matrix = draw_matrix(rng, self.task.spatial, stack.shape[1:], self.shape)
        moved = np.stack([warp(one, matrix, self.shape, border=self.task.spatial.border) for one in stack])
        varied = vary_signal(moved / np.float32(255), rng, strength=0.7)
        if rng.random() < 0.3:  # hide a patch, so that no single texture decides
            rows, columns = (rng.integers(0, size - size // 4) for size in self.shape)
            varied[:, rows : rows + self.shape[0] // 4, columns : columns + self.shape[1] // 4] = varied.mean()
        return varied, shown


def arranged(
    shown: NDArray[np.bool_], task: Task, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """A random arrangement of a stack's slices.

    Args:
        shown: (slices,) which slices there are, the middle one among them.
        task: says how often slices are moved and left out.
        rng: draws.

    Returns:
        (slices,) index of the slice that takes each place, the middle one's where there is none, and (slices,) bool,
        which places have a slice of their own.
    """
    slices = len(shown)
    middle = slices // 2
    step = 0
    if rng.random() < task.beside:
        step = int(rng.choice([-1, 1]))
        step = step if shown[middle + step] else 0
    order = np.arange(slices) + step
    inside = (order >= 0) & (order < slices)
    there = inside & shown[np.where(inside, order, middle)]
    there &= (rng.random(slices) >= task.missing) | (np.arange(slices) == middle)
    if rng.random() < ALONE:
        there = np.arange(slices) == middle
    order = np.where(there, order, middle + step)
    return (order, there) if rng.random() < 0.5 else (order[::-1], there[::-1])  # neighbours may come in either order


def _partners(level: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """For each example of a batch another of its level to mix with; itself where it is the only one."""
    partner = np.arange(len(level))
    for value in np.unique(level):
        same_level = np.flatnonzero(level == value)
        partner[same_level] = rng.permutation(same_level)
    return partner


def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Cross-entropy with the metric's weights 1/2/4, per head divided by the sum of the weights used."""
    images, level, shown, labels, others, fraction = batch
    logits = model(images, level, shown)
    weight = torch.tensor(SEVERITY_WEIGHTS, device=logits.device)
    total = logits.new_zeros(())
    for head in range(labels.shape[1]):
        entropy, weight_sum = logits.new_zeros(()), logits.new_zeros(())
        for target, part in ((labels[:, head], fraction), (others[:, head], 1 - fraction)):
            counts = part * (target >= 0) * weight[target.clamp(min=0)]
            entropy = entropy + (counts * F.cross_entropy(logits[:, head], target.clamp(min=0), reduction="none")).sum()
            weight_sum = weight_sum + counts.sum()
        total = total + entropy / weight_sum.clamp(min=1e-6)
    return total / labels.shape[1]


def predict(model: GradeNet, examples: GradeExamples, task: Task) -> NDArray[np.float64]:
    """Probabilities of examples without jitter, (n, heads, 3)."""
    return window_grades([model], examples, VIEWS[task.view].geometry.shape)


def measure(model: GradeNet, examples: GradeExamples, task: Task) -> dict[str, float]:
    """Weighted log loss of each head on each source."""
    predicted = predict(model, examples, task)
    metrics = {}
    for source in np.unique(examples.source):
        for head, group in enumerate(VIEWS[task.view].groups):
            chosen = (examples.source == source) & (examples.labels[:, head] >= 0)
            metrics[f"{source}_{group}"] = weighted_log_loss(examples.labels[chosen, head], predicted[chosen, head])
    return metrics


def main() -> None:
    """Train until the steps are done; a restart continues; predictions of the left-out fold go to `oof.npz`."""
    parser = run_parser(main.__doc__, TASKS, batch=64)
    parser.add_argument("--mixed", type=float, default=0.0, help="fraction of examples that are mixed with another")
    parser.add_argument("--drop-rate", type=float, default=0.3, help="dropout before the classifier")
    parser.add_argument("--start", type=Path, metavar="FILE", help="safetensors file of a grader to start from")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.fold)
    task = TASKS[arguments.task]
    files = example_files(arguments.cache, task.files, arguments.sources)
    examples = concatenate([load_grades(path) for path in files])
    heads = len(VIEWS[task.view].groups)
    model = GradeNet(arguments.backbone, in_chans=task.in_chans, heads=heads, drop_rate=arguments.drop_rate)
    if arguments.pretrained:
        start_from_pretrained(model.encoder, arguments.backbone, arguments.pretrained, in_chans=task.in_chans)
    if arguments.start:
        start_from_grader(model, arguments.start)
    validation = select(examples, validation_indices(examples.fold, arguments.fold))
    sampler = Sampler(
        examples,
        task,
        fold=arguments.fold,
        batch=arguments.batch,
        seed=arguments.fold + 1,
        mixed=arguments.mixed,
    )
    steps = steps_of(arguments, sampler.pools.size)
    options = {"workers": arguments.workers, "compiled": arguments.compile}
    trainer = Trainer(model, arguments.run, steps=steps, lr=arguments.lr, **options)
    metrics = trainer.fit(
        sampler,
        loss,
        measure=lambda m: measure(m, validation, task),
        measure_every=max(steps // 10, 1),
    )
    np.savez(
        arguments.run / "oof.npz",
        probabilities=predict(trainer.average, validation, task),
        labels=validation.labels,
        row_id=validation.row_id,
        group=validation.group,
        source=validation.source,
    )
    write_result(arguments.run, vars(arguments), metrics)


if __name__ == "__main__":
    main()
