"""Train a `GradeNet`: `python -m training.train_grader foraminal|axial|canal CACHE RUN [--fold 0]`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evaluation.array_rows import concatenate, select
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import SEVERITY_WEIGHTS
from lumbar_kernel.views import VIEWS
from training.augment import Spatial
from training.auxiliary import AuxiliaryGradeNet, read_grades, with_auxiliary
from training.examples import GradeExamples, example_file, load
from training.grade_batches import BatchMaker, Draws, Sampler, Variation
from training.predictions import window_grades
from training.pretrained import start_from_grader, start_from_pretrained
from training.soft_targets import read_predictions, targets_of
from training.studies import KIND_OF_VIEW
from training.trainer import example_files, pick_device, run_parser, train, validation_indices


@dataclass(frozen=True)
class Task:
    """A training task.

    Attributes:
        view: key of `views.VIEWS`.
        source_weights: weight of each source in a batch.
        in_chans: as in `GradeNet`.
        variation: what may change in an example.
    """

    view: str
    source_weights: dict[str, float]
    in_chans: int
    variation: Variation

    @property
    def heads(self) -> int:
        """Conditions that are graded."""
        return len(VIEWS[self.view].groups)

    def net(
        self, backbone: str, *, auxiliary: int = 0, drop_rate: float = 0.0, fixed_count: bool = False
    ) -> GradeNet | AuxiliaryGradeNet:
        """A new grader, with auxiliary heads if any are wanted; arguments as for `AuxiliaryGradeNet`."""
        kind = partial(AuxiliaryGradeNet, auxiliary=auxiliary) if auxiliary else GradeNet
        return kind(backbone, in_chans=self.in_chans, heads=self.heads, drop_rate=drop_rate, fixed_count=fixed_count)


# Shifts of 0.06 of the window are 3 mm: about the localiser's own error. Scale covers the unknown spacing of packs.
SPATIAL = Spatial(shift=0.06, degrees=12, scale=1.15, aspect=1.08)

# The window already follows the recesses: what remains is the error of their places.
POSED = Spatial(shift=0.05, degrees=8, scale=1.12, aspect=1.08)

TASKS = {
    "foraminal": Task(
        view="sagittal_t1",
        source_weights={"sagittal_t1": 0.75, "rsna": 0.75, "phantom": 0.25},
        in_chans=1,
        variation=Variation(SPATIAL, beside=0.4, missing=0.2),
    ),
    "axial": Task(
        view="axial_t2",
        source_weights={"axial_t2_crops": 0.65, "rsna": 0.65, "phantom": 0.35},
        in_chans=3,
        variation=Variation(POSED, beside=0.3),
    ),
    "canal": Task(
        view="sagittal_t2",
        source_weights={"rsna": 3.0, "sudirman_sagittal": 0.3, "phantom": 0.7},
        in_chans=3,
        variation=Variation(SPATIAL),
    ),
}

FINE = "_fine"
"""Ending of tasks and views in true resolution, which only whole studies have."""

TASKS |= {
    f"{name}{FINE}": replace(
        task,
        view=f"{task.view}{FINE}",
        in_chans=1,
        variation=replace(task.variation, beside=0.4),
    )
    for name, task in TASKS.items()
}
"""The same on true-resolution crops of whole studies, whose slices are encoded one by one and pooled."""


def is_fine(task: str) -> bool:
    """Whether a task is learnt from crops of whole studies alone."""
    return task.endswith(FINE)


def loss(model: nn.Module, batch: tuple[Tensor, ...], *, auxiliary_weight: float = 0.0) -> Tensor:
    """Cross-entropy with the metric's weights 1/2/4, per head divided by the sum of the weights used.

    Args:
        model: grades crops.
        batch: pictures, levels, slices there are, distributions over the grades.
        auxiliary_weight: of the mean of the auxiliary heads beside that of the others.
    """
    images, level, shown, targets = batch
    predict = model.every_head if isinstance(model, AuxiliaryGradeNet) else model
    predicted: Tensor = predict(images, level, shown).float().log_softmax(dim=2)
    entropy = -targets * targets.new_tensor(SEVERITY_WEIGHTS) * predicted
    weight = targets @ targets.new_tensor(SEVERITY_WEIGHTS)
    by_head = entropy.sum(dim=(0, 2)) / weight.sum(dim=0).clamp(min=1e-6)
    if not isinstance(model, AuxiliaryGradeNet):
        return by_head.mean()
    return by_head[: model.heads].mean() + auxiliary_weight * by_head[model.heads :].mean()


def measure(model: GradeNet, examples: GradeExamples, task: Task) -> dict[str, float]:
    """Weighted log loss of each head on each source."""
    predicted = window_grades([model], examples, VIEWS[task.view].geometry.shape)
    metrics = {}
    for source in np.unique(examples.source):
        for head, group in enumerate(VIEWS[task.view].groups):
            chosen = (examples.source == source) & (examples.labels[:, head] >= 0)
            metrics[f"{source}_{group}"] = weighted_log_loss(examples.labels[chosen, head], predicted[chosen, head])
    return metrics


def _graded_files(cache: Path, sources: Sequence[str], *, fine: bool) -> Iterator[Path]:
    """The files of all views' examples that there are, those in true resolution or the others.

    A recipe makes one of the two: what a cache holds of the other may be of an earlier one, with labels of its time.
    """
    kinds = [kind for view, kind in KIND_OF_VIEW.items() if view.endswith(FINE) == fine]
    files = (example_file(cache, source, kind) for source in sources for kind in kinds)
    return filter(Path.is_file, files)


def main() -> None:
    """Train until the steps are done; a restart continues."""
    parser = run_parser(main.__doc__, TASKS, batch=64)
    parser.add_argument(
        "--mixup-prob",
        type=float,
        default=0.0,
        metavar="P",
        help="fraction of examples to which mixup (within a level) is applied",
    )
    parser.add_argument("--drop-rate", type=float, default=0.3, help="dropout before the classifier")
    parser.add_argument("--seed", type=int, help="of the first weights and all draws (default: the fold)")
    parser.add_argument(
        "--measures", type=int, default=10, help="number of validations during the run, 0 for one at the end"
    )
    parser.add_argument("--start-weights", type=Path, metavar="FILE", help="safetensors file of a grader to start from")
    parser.add_argument(
        "--teachers", type=Path, nargs="+", default=(), metavar="CSV", help="predictions of other models to learn from"
    )
    parser.add_argument("--teachers-share", type=float, default=0.5, help="of a target, beside the reader's grade")
    parser.add_argument(
        "--auxiliary-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="of auxiliary heads for the other conditions and the neighbouring levels in the loss; 0 for none",
    )
    arguments = parser.parse_args()
    seed = arguments.fold if arguments.seed is None else arguments.seed
    torch.manual_seed(seed)
    task = TASKS[arguments.task]
    files = example_files(arguments.cache, KIND_OF_VIEW[task.view], arguments.sources)
    examples = concatenate([load(path, GradeExamples) for path in files])
    if arguments.auxiliary_weight:
        graded = _graded_files(arguments.cache, arguments.sources, fine=is_fine(arguments.task))
        examples = with_auxiliary(examples, read_grades(graded))
    shape, device = VIEWS[task.view].geometry.shape, pick_device()
    model = task.net(
        arguments.backbone,
        auxiliary=examples.labels.shape[1] - task.heads,
        drop_rate=arguments.drop_rate,
        fixed_count=device.type == "cuda",
    )
    if arguments.pretrained:
        start_from_pretrained(model.encoder, arguments.backbone, arguments.pretrained, in_chans=task.in_chans)
    if arguments.start_weights:
        start_from_grader(model, arguments.start_weights)
    validation = select(examples, validation_indices(examples.fold, arguments.fold))
    targets = targets_of(examples, read_predictions(arguments.teachers), share=arguments.teachers_share)
    sampler = Sampler(
        examples,
        task.source_weights,
        replace(task.variation, mixup_prob=arguments.mixup_prob),
        shape=shape,
        fold=arguments.fold,
        batch=arguments.batch,
        seed=seed + 1,
    )
    make = BatchMaker(examples, targets, in_chans=task.in_chans, shape=shape, device=device)
    train(
        model,
        arguments,
        sampler,
        lambda net, drawn: loss(net, make(Draws(*drawn)), auxiliary_weight=arguments.auxiliary_weight),
        examples=sampler.pools.size,
        data=(examples, targets),
        seed=seed,
        measure=lambda m: measure(m, validation, task),
        measures=arguments.measures,
        compiled=model.encoder,
    )


if __name__ == "__main__":
    main()
