"""From data to calibrated weights: `python -m training.recipe [--packs DIR] [--competition DIR] [--preset small]`.

Each step is a command of its own that is skipped once it is done with the same arguments, so that an interrupted recipe
continues with the same command. Runs of several folds share the GPUs that there are.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.processes import process_pool
from training.competition import labelled_studies
from training.estimate import cache_bytes, training_seconds, weights_bytes
from training.presets import PRESETS, Member, Network, Preset
from training.runner import Runner, Step, duration
from training.shared_folds import disagreement, table_of_packs
from training.train_grader import TASKS, is_fine

logger = logging.getLogger(__name__)

MAX_LOADERS = 8
"""More processes than this feed no network faster."""


@dataclass(frozen=True)
class Settings:
    """Where a recipe finds its data and keeps its results.

    Attributes:
        preset: what to train.
        packs: folder of single slices and crops, None without.
        competition: the competition's folder, None without.
        folds: table of folds for the competition's studies, None to let a hash decide.
        cache: examples.
        runs: checkpoints, one folder a run.
        weights: the exported weights.
        checkpoints: folder with `<timm name>.safetensors` to start from, None without.
        phantoms: phantom studies to train with.
        steps: length of every run in place of its epochs, None to keep them.
        batch: most examples of a step, None to keep the preset's.
        train_folds: those of the preset's folds to train, None for all.
        teachers: predictions of other models that graders learn from too, in the format of a submission.
        per_gpu: networks that train at the same time on each GPU.
        compiled: whether a GPU's networks are compiled where their preset says so.
    """

    preset: Preset
    packs: Path | None
    competition: Path | None
    folds: Path | None
    cache: Path
    runs: Path
    weights: Path
    checkpoints: Path | None
    phantoms: int
    steps: int | None
    batch: int | None = None
    train_folds: tuple[int, ...] | None = None
    teachers: tuple[Path, ...] = ()
    per_gpu: int = 1
    compiled: bool = True

    def folds_of(self, network: Network) -> tuple[int, ...]:
        """The folds of a network that are trained."""
        return tuple(fold for fold in network.folds if self.train_folds is None or fold in self.train_folds)

    def batch_of(self, network: Network) -> int:
        """Examples of a step of a network."""
        return min(network.batch, self.batch or network.batch)

    @property
    def sources(self) -> tuple[str, ...]:
        """The kinds of data that networks learn from; a cache may hold others, of earlier recipes."""
        given = {"packs": self.packs, "competition": self.competition, "phantoms": self.phantoms}
        return tuple(name for name, value in given.items() if value)

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPU of each network that trains at the same time."""
        return visible_gpus() * self.per_gpu


def steps(settings: Settings, *, studies: int = 0) -> Iterator[Step]:
    """The steps of a recipe in order.

    Args:
        settings: of the recipe.
        studies: labelled ones whose files are there; when a download goes on, they are prepared and learnt from anew.
    """
    preset, cache, runs = settings.preset, str(settings.cache), settings.runs
    views = tuple(dict.fromkeys(TASKS[item.task].view for item in preset.members))

    def step(
        name: str, module: str, *arguments: object, tables: Iterable[Path] = (), counts: tuple[str, ...] = ()
    ) -> Step:
        command = ("-m", f"training.{module}", *map(str, arguments))
        return Step(name, command, group=name, tables=tuple(tables), counts=counts)

    if settings.packs:
        tables = sorted(settings.packs.glob("*/*.csv"))
        yield step("prepare packs", "prepare", settings.packs, cache, tables=tables)
    if settings.phantoms:
        yield step("phantoms", "phantoms", cache, "--studies", settings.phantoms, "--views", *views)
    folds = ("--folds", settings.folds) if settings.folds else ()
    if settings.competition:
        tables = [*sorted(settings.competition.glob("train*.csv")), *folds[1:]]
        arguments = (settings.competition, cache, *folds, "--views", *views)
        there = (f"{studies} studies",)
        yield step("prepare studies", "competition", *arguments, tables=tables, counts=there)
    for localiser in preset.localisers:
        yield from (_run(settings, localiser, fold) for fold in settings.folds_of(localiser))
    if settings.packs:
        points = next(item for item in preset.localisers if item.task == "axial")
        found = [runs / points.run(fold) for fold in settings.folds_of(points)]
        yield step("prepare axial crops", "prepare_axial", settings.packs, cache, *found)
    for member in preset.members:
        yield from (_run(settings, member, fold) for fold in settings.folds_of(member))
    only = ("--folds", *settings.train_folds) if settings.train_folds else ()
    yield step("export", "export", runs, settings.weights, "--preset", preset.name, *only)
    if settings.competition:
        out = runs / "whole_studies"
        yield step("whole studies", "whole_studies", settings.competition, settings.weights, out, *folds)
        yield step("calibrate", "calibrate_studies", settings.competition, settings.weights, out)
    elif settings.packs:
        yield step("calibrate", "calibrate", settings.packs, settings.weights)
        yield step("evaluate", "evaluate", settings.packs, "--oof", "--weights", settings.weights)
    yield step("model card", "model_card", settings.weights, runs)


def _run(settings: Settings, network: Network, fold: int) -> Step:
    name = network.run(fold)
    count = settings.steps or network.steps
    length = ("--steps", count) if count else ("--epochs", network.epochs)
    options: list[object] = [*length, "--fold", fold, "--backbone", network.backbone]
    options += ["--batch", settings.batch_of(network), "--sources", *settings.sources]
    options += network.options
    files: list[Path] = []
    if settings.checkpoints and (file := settings.checkpoints / f"{network.backbone}.safetensors").is_file():
        options += ["--pretrained", file]
        files.append(file)
    if settings.teachers and isinstance(network, Member) and network.taught:
        options += ["--teachers", *settings.teachers]
        files += settings.teachers
    command = (network.task, settings.cache, settings.runs / name, *options)
    return Step(
        f"train {name}",
        ("-m", f"training.{network.command}", *map(str, command)),
        group=f"train {network.command}",
        machine=_on_gpu(settings, network) if settings.gpus else (),
        tables=tuple(files),
    )


def _on_gpu(settings: Settings, network: Network) -> tuple[str, ...]:
    """What makes a run fast on a GPU."""
    workers = ("--workers", str(_loaders(len(settings.gpus))))
    return (*workers, "--compile") if network.compiled and settings.compiled else workers


def _loaders(gpus: int) -> int:
    """Processes that make the batches of one of so many networks that train at the same time."""
    return max(1, min(MAX_LOADERS, usable_cpus() // gpus - 1))


def visible_gpus() -> tuple[str, ...]:
    """The GPUs by the numbers that `CUDA_VISIBLE_DEVICES` takes."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
    return tuple(numbers[: torch.cuda.device_count()])


def with_estimates(settings: Settings, recipe: Sequence[Step], *, studies: int, gpus: int) -> list[Step]:
    """The steps with the time that training is expected to take, from a timed step of every network.

    A trial of some steps gets none: timing the networks would take as long as the trial.
    """
    if settings.steps is not None:
        return list(recipe)
    logger.info("timing a step of each network")
    timed = partial(
        training_seconds,
        studies=studies,
        phantoms=settings.phantoms,
        packs=settings.packs is not None,
    )
    own = [replace(network, batch=settings.batch_of(network)) for network in settings.preset.networks()]
    if gpus:  # in a process of its own, which gives the GPU's memory back
        with process_pool(1) as pool:
            each = list(pool.map(timed, own))
    else:
        each = list(map(timed, own))
    seconds = {
        f"train {run}": value / max(1, gpus) for network, value in zip(own, each, strict=True) for run in network.runs
    }
    return [replace(step, seconds=seconds.get(step.name, 0.0)) for step in recipe]


def parsed(arguments: Sequence[str] | None = None) -> tuple[Settings, bool]:
    """The settings of a command line, and whether only the plan is wanted."""
    parser = _parser()
    given = parser.parse_args(arguments)
    for name in ("packs", "competition", "folds", "checkpoints"):
        path = getattr(given, name)
        if path is not None and not path.exists():
            parser.error(f"--{name}: {path} does not exist")
    if given.per_gpu < 1:
        parser.error("--per-gpu must be 1 or more")
    if missing := [path for path in given.teachers or () if not path.is_file()]:
        parser.error(f"--teachers: {missing[0]} does not exist")
    settings = _settings(given)
    if not all(settings.folds_of(network) for network in settings.preset.localisers):
        parser.error(f"--train-folds: the localisers of {settings.preset.name} have none of these folds")
    if not settings.sources:
        parser.error("nothing to learn from: name --packs, --competition or a number of --phantoms")
    if settings.packs and not settings.competition and any(is_fine(item.task) for item in settings.preset.members):
        parser.error(f"the graders of {given.preset} see more than the crops of packs hold: name --competition too")
    if settings.packs and settings.competition and (problem := disagreement(settings.packs, settings.folds)):
        parser.error(f"--folds: {problem}")
    return settings, given.plan


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="single slices and crops, laid out as shared/data")
    parser.add_argument("--competition", type=Path, metavar="DIR", help="the competition's folder with train_images")
    parser.add_argument("--folds", type=Path, metavar="FILE", help="csv with study_id and fold")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="examples")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints")
    parser.add_argument("--weights", type=Path, help="exported weights (default: weights in the folder of runs)")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="timm checkpoints, <timm name>.safetensors")
    parser.add_argument("--phantoms", type=int, help="phantom studies to train with (default: the preset's)")
    parser.add_argument("--steps", type=int, help="steps of every run in place of its epochs, to try a recipe")
    parser.add_argument("--batch", type=int, metavar="N", help="at most so many examples a step, for less memory")
    parser.add_argument(
        "--train-folds", type=int, nargs="+", metavar="N", help="train these of the preset's folds alone"
    )
    parser.add_argument(
        "--teachers",
        type=Path,
        nargs="+",
        metavar="CSV",
        help="predictions of other models that graders learn from too (default: those in oof/ of the packs)",
    )
    parser.add_argument(
        "--per-gpu", type=int, default=1, metavar="N", help="networks that train at the same time on each GPU"
    )
    parser.add_argument(
        "--no-compile", action="store_true", help="do not compile networks on a GPU, where torch.compile does not work"
    )
    parser.add_argument("--plan", action="store_true", help="print the steps, their time and size, and stop")
    return parser


def _settings(given: argparse.Namespace) -> Settings:
    """The settings of checked arguments."""
    preset, packs = PRESETS[given.preset], given.packs
    teachers = sorted((packs / "oof").glob("*.csv")) if packs and given.teachers is None else given.teachers
    return Settings(
        preset=preset,
        packs=packs,
        competition=given.competition,
        folds=given.folds or (table_of_packs(packs) if packs and given.competition else None),
        cache=given.cache,
        runs=given.runs,
        weights=given.weights or given.runs / "weights",
        checkpoints=given.checkpoints,
        phantoms=preset.phantoms if given.phantoms is None else given.phantoms,
        steps=given.steps,
        batch=given.batch,
        train_folds=None if given.train_folds is None else tuple(given.train_folds),
        teachers=tuple(teachers or ()),
        per_gpu=given.per_gpu,
        compiled=not given.no_compile,
    )


def main() -> None:
    """Print what will be done with its expected time and size, and do it."""
    settings, only_plan = parsed()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    gpus = visible_gpus()
    studies = len(labelled_studies(settings.competition)) if settings.competition else 0
    recipe = with_estimates(settings, list(steps(settings, studies=studies)), studies=studies, gpus=len(gpus))
    for step in recipe:
        logger.info("%-28s %s", step.name, duration(step.seconds) if step.seconds else "")
    total, where = sum(step.seconds for step in recipe), f"{len(gpus)} GPUs" if gpus else "the processor"
    examples = cache_bytes(settings.preset, studies=studies, phantoms=settings.phantoms)
    logger.info(
        "%s; examples %.1f GB besides the packs', weights %.0f MB",
        f"training takes about {duration(total)} on {where}" if total else f"a trial on {where}",
        examples / 1e9,
        weights_bytes({item: len(settings.folds_of(item)) for item in settings.preset.networks()}) / 1e6,
    )
    if not only_plan:
        Runner(settings.runs / "done", settings.gpus).run(recipe)


if __name__ == "__main__":
    main()
