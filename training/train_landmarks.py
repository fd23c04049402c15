"""Train a `HeatmapNet`: `python -m training.train_landmarks sagittal|axial CACHE RUN [--fold 0]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluation.array_rows import concatenate, select
from lumbar_kernel.intensities import normalise
from lumbar_kernel.localisation.slice_maps import FRAME
from lumbar_kernel.models.heatmap_net import STRIDE, HeatmapNet, cells_at, pixels_at
from lumbar_kernel.models.manifest import LANDMARKS
from training.augment import Spatial, draw_matrix, hide, move_points, vary_signal, warp, without_anatomy
from training.examples import LandmarkExamples, load
from training.pretrained import start_from_pretrained
from training.trainer import Pools, averaged_weights, example_files, run_parser, train, validation_indices


@dataclass(frozen=True)
class Task:
    """A training task.

    Attributes:
        kind: of the examples, as in `studies.kinds`.
        shape: rows and columns of the frame, pixels.
        points: landmarks.
        spatial: ranges of the spatial augmentation.
        source_weights: weight of each source in a batch.
        sigma: standard deviation of the target, heatmap cells.
        hidden: fraction of pictures with parts hidden away from the points, 0..1.
        without_anatomy: fraction of pictures that show none, so that every landmark is absent, 0..1.
    """

    kind: str
    shape: tuple[int, int]
    points: int
    spatial: Spatial
    source_weights: dict[str, float]
    sigma: float = 1.0
    hidden: float = 0.0
    without_anatomy: float = 0.0

    def net(self, backbone: str) -> HeatmapNet:
        """A new localiser."""
        return HeatmapNet(backbone, points=self.points)


ROOM = 9.0
"""Pixels around the points that are never hidden: a disc and its neighbouring corners."""

TASKS = {
    # Scale and shift cover fields of view from 220 to 380 mm and spines off the middle of the frame.
    "sagittal": Task(
        kind="sagittal",
        shape=(FRAME, FRAME),
        points=LANDMARKS["sagittal"],
        spatial=Spatial(shift=0.08, degrees=12, scale=1.3, aspect=1.15),
        hidden=0.7,
        source_weights={
            "sagittal_t1": 0.38,
            "rsna": 0.38,
            "sudirman_sagittal": 0.18,
            "spider_midsagittal": 0.14,
            "spider_t2": 0.08,
            "tianchi_t2": 0.05,
            "phantom": 0.17,
        },
    ),
    # The window is placed by the projected canal point, which is good to about a centimetre.
    "axial": Task(
        kind="axial_points",
        shape=(128, 128),
        points=LANDMARKS["axial"],
        spatial=Spatial(shift=0.14, degrees=10, scale=1.25, aspect=1.1, border=cv2.BORDER_REFLECT_101),
        source_weights={"axial_t2_crops": 0.7, "rsna": 0.7, "phantom": 0.3},
        without_anatomy=0.15,
    ),
}


def targets(points: NDArray[np.float64], shape: tuple[int, int], *, sigma: float) -> NDArray[np.float32]:
    """Target distributions: (landmarks, 2) rows and columns → (landmarks, cells + 1), each summing to 1.

    A Gaussian over the cells around the point; all on the last entry, absence, where the point is NaN or outside.
    """
    rows, columns = shape[0] // STRIDE, shape[1] // STRIDE
    target = np.zeros((len(points), rows * columns + 1), np.float32)
    for index, (row, column) in enumerate(cells_at(points)):
        if not (-0.5 <= row <= rows - 0.5 and -0.5 <= column <= columns - 0.5):  # NaN compares false
            target[index, -1] = 1
            continue
        down = np.exp(-0.5 * ((np.arange(rows) - row) / sigma) ** 2)
        along = np.exp(-0.5 * ((np.arange(columns) - column) / sigma) ** 2)
        spot = np.outer(down, along)
        target[index, :-1] = (spot / spot.sum()).ravel()
    return target


class Sampler:
    """Draws augmented batches of the training folds, each source with its weight."""

    def __init__(self, examples: LandmarkExamples, task: Task, *, fold: int, batch: int, seed: int) -> None:
        self.examples, self.task, self.batch, self.seed = examples, task, batch, seed
        self.pools = Pools(examples.source, examples.fold, task.source_weights, fold=fold)

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """Pictures, targets and which landmarks are known; the same step gives the same batch."""
        rng = np.random.default_rng((self.seed, step))
        chosen = self.pools.draw(rng, self.batch)
        pictures, target, known = zip(*(self._example(int(index), rng) for index in chosen), strict=True)
        return (
            torch.from_numpy(np.stack(pictures))[:, None].contiguous(memory_format=torch.channels_last),
            torch.from_numpy(np.stack(target)),
            torch.from_numpy(np.stack(known)),
        )

    def _example(
        self, index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        task, picture = self.task, self.examples.images[index]
        matrix = draw_matrix(rng, task.spatial, picture.shape, task.shape)
        moved = warp(picture, matrix, task.shape, border=task.spatial.border)
        points = move_points(self.examples.points[index].astype(np.float64), matrix)
        known = self.examples.known[index]
        if task.without_anatomy and rng.random() < task.without_anatomy:
            moved, points, known = without_anatomy(moved, rng), np.full_like(points, np.nan), np.ones_like(known)
        signal = normalise(moved.astype(np.float32))
        if rng.random() < task.hidden:
            signal = hide(signal, points, rng, room=ROOM)
        signal = vary_signal(signal, rng)
        return signal, targets(points, task.shape, sigma=task.sigma), known


def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Cross-entropy between target and predicted distributions, averaged over the known landmarks."""
    pictures, target, known = batch
    predicted: Tensor = model(pictures)
    entropy = -(target * predicted).sum(dim=2)
    return (entropy * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def measure(model: nn.Module, examples: LandmarkExamples, task: Task) -> dict[str, float]:
    """Validation metrics per source: visible landmarks within 2, 3 and 6 % of the frame, and false alarms."""
    device = next(model.parameters()).device
    found = []
    for start in range(0, len(examples.images), 64):
        block = examples.images[start : start + 64]
        matrix = np.array([[1, 0, (task.shape[1] - block.shape[2]) / 2], [0, 1, (task.shape[0] - block.shape[1]) / 2]])
        pictures = np.stack([normalise(warp(p, matrix, task.shape, border=0).astype(np.float32)) for p in block])
        found.append(model(torch.from_numpy(pictures)[:, None].to(device)).exp().cpu().numpy())
    maps = np.concatenate(found)
    cells = (task.shape[0] // STRIDE, task.shape[1] // STRIDE)
    best = np.stack(np.unravel_index(maps[:, :, :-1].argmax(2), cells), axis=2)
    offset = (np.array(task.shape) - examples.images.shape[1:]) / 2
    distance = np.linalg.norm(pixels_at(best) - (examples.points + offset), axis=2) / task.shape[0]
    visible = ~np.isnan(distance)
    metrics = {}
    for source in np.unique(examples.source):
        of_source = (examples.source == source)[:, None]
        for limit in (2, 3, 6):
            metrics[f"{source}_{limit}"] = float((distance[of_source & visible] < limit / 100).mean())
        missing = of_source & ~visible & examples.known
        if missing.any():
            metrics[f"{source}_false"] = float((maps[:, :, -1][missing] < 0.5).mean())
    return metrics


def main() -> None:
    """Train until the steps are done; a restart continues."""
    parser = run_parser(main.__doc__, TASKS, batch=32)
    parser.add_argument("--start-run", type=Path, metavar="RUN", help="run whose averaged weights are the start")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.fold)
    task = TASKS[arguments.task]
    files = example_files(arguments.cache, task.kind, arguments.sources)
    examples = concatenate([load(path, LandmarkExamples) for path in files])
    model = task.net(arguments.backbone)
    if arguments.pretrained:
        start_from_pretrained(model.encoder, arguments.backbone, arguments.pretrained, in_chans=1, features_only=True)
    if arguments.start_run:
        model.load_state_dict(averaged_weights(arguments.start_run))
    validation = select(examples, validation_indices(examples.fold, arguments.fold, most=600))
    sampler = Sampler(examples, task, fold=arguments.fold, batch=arguments.batch, seed=arguments.fold + 1)
    train(
        model,
        arguments,
        sampler,
        loss,
        examples=sampler.pools.size,
        data=(examples,),
        seed=arguments.fold,
        measure=lambda m: measure(m, validation, task),
        compiled=model,
    )


if __name__ == "__main__":
    main()
