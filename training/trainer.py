"""The training loop of every run: schedule, moving average of weights, resumable checkpoints, a log."""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from lumbar_kernel.results.atomic import write_atomic
from training import run_results
from training.auxiliary import without_auxiliary
from training.examples import SOURCES, example_file
from training.pretrained import FROM_PACKAGE

logger = logging.getLogger(__name__)

Batch = tuple[Tensor, ...]
Net = TypeVar("Net", bound=nn.Module)

INCIDENTAL = ("cache", "run", "workers", "compile", "measures")
"""Arguments that do not make a run another one: where it is and how fast; its examples have a checksum."""

STARTS = ("pretrained", "start_run", "start_weights")
"""Arguments that may name a file or a run to start from, which has a checksum too."""

CHECKPOINT, LOG = "last.pt", "log.jsonl"

AVERAGED = 0.998
"""Decay of the moving average of the weights."""


def run_parser(description: str | None, tasks: Iterable[str], *, batch: int) -> argparse.ArgumentParser:
    """The arguments that every training script takes; also sets up logging and is followed by `parse_args`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("task", choices=sorted(tasks))
    parser.add_argument("cache", type=Path, help="folder of prepared examples")
    parser.add_argument("run", type=Path, help="folder of this run; a restart continues it")
    parser.add_argument(
        "--sources", nargs="+", choices=SOURCES, default=list(SOURCES), help="data to learn from (default: all)"
    )
    parser.add_argument("--fold", type=int, default=0, help="left out of training and used for validation")
    parser.add_argument(
        "--backbone", default="mobilenetv3_small_100", help="timm model name, for a grader also compact_cnn"
    )
    parser.add_argument(
        "--pretrained",
        nargs="?",
        const=FROM_PACKAGE,
        metavar="FILE",
        help="start from a timm checkpoint of the backbone, without FILE from a package of the Python registry",
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--epochs", type=float, help="passes over the training examples")
    length.add_argument("--steps", type=int, help="batches, in place of epochs")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches, 0 for none")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network, for long runs on a GPU")
    return parser


def steps_of(arguments: argparse.Namespace, examples: int) -> int:
    """The steps of a run: as given, or those of its epochs of so many examples, at least one."""
    if arguments.steps is not None:
        return int(arguments.steps)
    batches: float = arguments.epochs * examples / arguments.batch
    return max(1, math.ceil(batches))


def example_files(cache: Path, kind: str, sources: Collection[str]) -> list[Path]:
    """The files with examples of a kind to train on; raises FileNotFoundError if none exists.

    Args:
        cache: folder of prepared examples.
        kind: of the examples, as in `studies.kinds`.
        sources: those of `SOURCES` to learn from.
    """
    chosen = [example_file(cache, source, kind) for source in SOURCES if source in sources]
    files = [path for path in chosen if path.exists()]
    logger.info("examples from %s", ", ".join(path.name for path in files))
    if not files:
        names = ", ".join(path.stem for path in chosen)
        msg = (
            f"{cache} holds none of {names}; training.prepare, training.prepare_axial, training.competition and "
            "training.phantoms write them"
        )
        raise FileNotFoundError(msg)
    return files


def identity_of(arguments: argparse.Namespace, *data: object) -> dict[str, str]:
    """What a run is: its arguments without `INCIDENTAL` ones, and checksums of what it starts and learns from.

    Args:
        arguments: of the command line.
        data: dataclasses of arrays, or arrays.
    """
    settings = {name: str(value) for name, value in vars(arguments).items() if name not in INCIDENTAL}
    starts = {name: _start_checksum(settings[name]) for name in STARTS if name in settings}
    settings |= {name: f"{settings[name]} {checksum}" for name, checksum in starts.items() if checksum}
    checksum = 0
    for item in data:
        for part in vars(item).values() if is_dataclass(item) else (item,):
            checksum = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).data, checksum)
    return settings | {"examples": f"{checksum:08x}"}


def _start_checksum(start: str) -> str:
    """Of the file that is named, or of the checkpoint of the run; empty where it is neither."""
    file = Path(start, CHECKPOINT) if Path(start).is_dir() else Path(start)
    return f"{zlib.crc32(file.read_bytes()):08x}" if file.is_file() else ""


class Pools:
    """Training examples by source, drawn so that each source has its fraction of a batch.

    Args:
        sources: (n,) source of each example.
        folds: (n,) fold of each example.
        weights: source → weight in the draw; sources without examples are ignored.
        fold: left out.
    """

    def __init__(
        self, sources: NDArray[np.str_], folds: NDArray[np.int8], weights: Mapping[str, float], *, fold: int
    ) -> None:
        found = {name: np.flatnonzero((folds != fold) & (sources == name)) for name in weights}
        self.pools = {name: pool for name, pool in found.items() if len(pool)}
        if not self.pools:
            msg = f"there is no example of {', '.join(weights)} outside of fold {fold} to learn from"
            raise ValueError(msg)
        chosen = np.array([weights[name] for name in self.pools])
        self.weights = chosen / chosen.sum()
        logger.info("training pools %s", {name: len(pool) for name, pool in self.pools.items()})

    @property
    def size(self) -> int:
        """Examples in all pools: the length of an epoch."""
        return sum(len(pool) for pool in self.pools.values())

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.intp]:
        """Indices of examples, with replacement."""
        names = rng.choice(list(self.pools), count, p=self.weights)
        return np.array([rng.choice(self.pools[name]) for name in names])


def validation_indices(folds: NDArray[np.int8], fold: int, *, most: int | None = None) -> NDArray[np.intp]:
    """Examples to measure a run on: those of the fold left out, or of any where that fold has none.

    Args:
        folds: (n,) fold of each example.
        fold: left out of training.
        most: a random choice of so many, None for all.
    """
    held = np.flatnonzero(folds == fold)
    if not len(held):
        logger.warning("no example is of fold %d: nothing is left out, and measured is what was learnt from", fold)
    chosen = np.random.default_rng(0).permutation(held if len(held) else np.arange(len(folds)))
    return np.sort(chosen[:most])


def pick_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Steps(Dataset[Batch]):
    """The batches of some steps, each made when it is asked for."""

    def __init__(self, batch: Callable[[int], Batch], steps: range) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch:
        return self.batch(self.steps[index])


def _one_thread(_worker: int) -> None:
    """Workers are as many as the processors: their libraries must not start threads of their own."""
    cv2.setNumThreads(1)


class Trainer(Generic[Net]):
    """AdamW with a one-cycle schedule, an exponential moving average of the weights, and resumable checkpoints.

    Args:
        model: trained in place.
        run: folder of the run, with its checkpoint and the record of its measurements.
        steps: length of the whole run.
        lr: highest learning rate.
        seed: of what the steps draw themselves, such as dropout, so that a resumed run draws the same.
        identity: what makes it this run, by name: the checkpoint of another one is not continued.
        save_every: steps between checkpoints.
        workers: processes that make batches, 0 to make them between the steps.
        compiled: part of the model, or all of it, that `torch.compile` compiles first; None for nothing.
    """

    def __init__(
        self,
        model: Net,
        run: Path,
        *,
        steps: int,
        lr: float,
        seed: int = 0,
        identity: Mapping[str, str] | None = None,
        save_every: int = 200,
        workers: int = 0,
        compiled: nn.Module | None = None,
    ) -> None:
        self.device = pick_device()
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model).eval()
        if compiled is not None:
            compiled.compile()  # in place, after the copy
        self.run, self.steps, self.seed, self.save_every, self.workers = run, steps, seed, save_every, workers
        self.identity = dict(identity or {}) | {"steps": str(steps)}
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.02, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            max_lr=lr,
            total_steps=steps,
            pct_start=0.1 if steps != 10 else 0.2,  # torch divides by a tenth of the steps less one
            div_factor=20,
            final_div_factor=100,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.device.type == "cuda")
        self.step = 0
        run.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._shorten_log()

    def _resume(self) -> None:
        path = self.run / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        before = state.get("identity", {})
        if changed := [name for name, value in self.identity.items() if before.get(name) != value]:
            logger.warning("%s was a run with other %s, starting from the beginning", path, ", ".join(changed))
            return
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"]:  # empty where a processor began the run
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        logger.info("continuing %s at step %d of %d", self.run, self.step, self.steps)

    def _shorten_log(self) -> None:
        """Leave the measurements up to the step that the run continues from: later ones are taken again."""
        log = self.run / LOG
        if not self.step or not log.exists():
            log.unlink(missing_ok=True)
            return
        kept = [line for line in log.read_text().splitlines() if 0 < _logged_step(line) <= self.step]
        write_atomic("".join(f"{line}\n" for line in kept), log)

    def save(self) -> None:
        """Write the checkpoint that a restart continues from, atomically."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "identity": self.identity,
        }
        partial = self.run / f"{CHECKPOINT}.partial"
        torch.save(state, partial)
        partial.replace(self.run / CHECKPOINT)

    def fit(
        self,
        batch: Callable[[int], Batch],
        loss: Callable[[Net, Batch], Tensor],
        *,
        measure: Callable[[Net], dict[str, float]],
        measure_every: int,
    ) -> dict[str, float]:
        """Run the remaining steps.

        Args:
            batch: tensors of a step, given the step number (so a resumed run sees the same data).
            loss: scalar loss of the model on a batch.
            measure: metrics of the averaged model on validation data.
            measure_every: steps between measurements; the last step always measures.

        Returns:
            The last metrics.
        """
        metrics: dict[str, float] = {}
        running, started = math.nan, time.monotonic()
        for made in self._batches(batch):
            torch.manual_seed(zlib.crc32(f"{self.seed} {self.step}".encode()))
            tensors = tuple(t.to(self.device, non_blocking=True) for t in made)
            self.model.train()
            with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
                value = loss(self.model, tensors)
            self.optimiser.zero_grad(set_to_none=True)
            self.scaler.scale(value).backward()  # half precision would round small gradients to zero
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self.schedule.step()
            self.step += 1
            self._update_average()
            current = float(value.detach())
            running = current if math.isnan(running) else running + (current - running) * 0.05
            if self.step % measure_every == 0 or self.step == self.steps:
                metrics = measure(self.average)
                self._log({"step": self.step, "loss": running, "seconds": time.monotonic() - started, **metrics})
            if self.step % self.save_every == 0 or self.step == self.steps:
                self.save()
        return metrics or measure(self.average)

    def _batches(self, batch: Callable[[int], Batch]) -> Iterable[Batch]:
        """The batches of the remaining steps in order; worker processes make the next ones ahead."""
        return DataLoader(
            _Steps(batch, range(self.step, self.steps)),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=4 if self.workers else None,
            worker_init_fn=_one_thread,
        )

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the averaged weights towards the trained ones, faster at the start."""
        decay = min(AVERAGED, (1 + self.step) / (10 + self.step))
        pairs = list(zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True))
        averaged, counted = (
            [pair for pair in pairs if pair[0].dtype.is_floating_point == floating] for floating in (True, False)
        )
        get_ema_multi_avg_fn(decay)(*([one[k] for one in averaged] for k in (0, 1)), None)
        for target, source in counted:
            target.copy_(source)

    def _log(self, entry: dict[str, float]) -> None:
        entry = {key: round(value, 5) for key, value in entry.items()}
        logger.info("%s %s", self.run.name, entry)
        with (self.run / LOG).open("a") as log:
            log.write(json.dumps(entry) + "\n")


def _logged_step(line: str) -> int:
    """The step of a line of the log; 0 of one that a kill has cut off."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return 0


def train(
    model: Net,
    arguments: argparse.Namespace,
    batch: Callable[[int], Batch],
    loss: Callable[[Net, Batch], Tensor],
    *,
    examples: int,
    data: Iterable[object],
    seed: int = 0,
    measure: Callable[[Net], dict[str, float]],
    measures: int = 10,
    compiled: nn.Module,
) -> None:
    """Train until the steps are done and write the result; a restart continues.

    Args:
        model: trained in place.
        arguments: as from `run_parser`.
        batch: as in `Trainer.fit`.
        loss: as in `Trainer.fit`.
        examples: length of an epoch.
        data: what the run learns from, as in `identity_of`.
        seed: as in `Trainer`.
        measure: as in `Trainer.fit`.
        measures: how often it is called, 0 for once, at the end.
        compiled: what `--compile` compiles, as in `Trainer`.
    """
    steps = steps_of(arguments, examples)
    trainer = Trainer(
        model,
        arguments.run,
        steps=steps,
        lr=arguments.lr,
        seed=seed,
        identity=identity_of(arguments, *data),
        workers=arguments.workers,
        compiled=compiled if arguments.compile else None,
    )
    if trainer.step < steps:
        run_results.withdraw(arguments.run)  # else an interruption would leave what an earlier run is said to have
    metrics = trainer.fit(batch, loss, measure=measure, measure_every=max(steps // max(measures, 1), 1))
    run_results.write(arguments.run, vars(arguments), metrics)


def averaged_weights(run: Path) -> dict[str, Tensor]:
    """The averaged weights of a run without auxiliary heads, which are used and exported, on the processor."""
    state: dict[str, Tensor] = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)["average"]
    return without_auxiliary(state)


def trained(net: Net, run: Path) -> Net:
    """A network with the averaged weights of a run, to be used."""
    net.load_state_dict(averaged_weights(run))
    return net.eval()
