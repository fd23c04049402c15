"""Rules of reading by grades on phantoms: `python -m benchmarks.robustness.choices axials|dixon|noise --studies 60`.

`axials`: sagittal T2 as a volume of cubic voxels, with axial series, with axial slices reformatted from the volume, and
without any. `dixon`: each role as the in-phase and as the water image of a Dixon sequence. `noise`: noise on some or
all slices of each role. Studies are written as DICOM, read by their headers and graded; the table has the official
losses and, study by study, their differences from the first line with 95 % intervals.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.robustness.hospital import VENDORS, exam_of, write_exam
from benchmarks.tables import table_head, table_row
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import KernelError
from lumbar_kernel.kernel import Kernel
from lumbar_kernel.phantom import make_phantom
from lumbar_kernel.results.metric import TERMS, StudyTerms, study_terms
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T2, SERIES_DESCRIPTIONS, prior, row_ids
from lumbar_kernel.study import Slice, Study

SEED = 45_000_000
"""Of the first phantom; none of those that networks were trained on."""

DRAWS = 1000


def read_back(study: Study) -> Study:
    """A study written as DICOM by a scanner and read again."""
    with tempfile.TemporaryDirectory() as name:
        write_exam(exam_of(study, VENDORS["siemens"]), Path(name))
        (files,) = find_studies(Path(name))
        return read_study(files)


def axial_ways(seed: int) -> tuple[dict[str, Study], list[int]]:
    """One patient's study by name of the way in which it has axial slices, and its true grades."""
    plain = make_phantom(seed, study_id="1", balanced=True)
    volume = make_phantom(seed, study_id="1", balanced=True, volume=True).study
    lone = read_back(volume.without(AXIAL_T2))
    assert lone.volume is not None
    thin = tuple(replace(s, slices=lone.volume.slices) if s.role == SAGITTAL_T2 else s for s in lone.series)
    return {
        "volume and axial series": read_back(volume),
        "volume, axials reformatted": lone,
        "volume, axials reformatted, thin sagittal slices": replace(lone, series=thin),
        "volume, no axials": replace(lone, volume=None),
        "slices, axial series": read_back(plain.study),
        "slices, no axials": read_back(plain.study.without(AXIAL_T2)),
    }, plain.truth.grades.tolist()


def dixon_ways(seed: int) -> tuple[dict[str, Study], list[int]]:
    """One patient's study in phase, and with the water image in each role, and its true grades."""
    plain = make_phantom(seed, study_id="1", balanced=True)
    water = make_phantom(seed, study_id="1", balanced=True, fat_share=dict.fromkeys(SERIES_DESCRIPTIONS, 0.0)).study
    ways = {"in phase": read_back(plain.study)}
    for role in SERIES_DESCRIPTIONS:
        pairs = zip(plain.study.series, water.series, strict=True)
        series = tuple(other if one.role == role else one for one, other in pairs)
        ways[f"water as {role}"] = read_back(replace(plain.study, series=series))
    return ways | {"water in all": read_back(water)}, plain.truth.grades.tolist()


def noise_ways(seed: int) -> tuple[dict[str, Study], list[int]]:
    """One patient's study with noise on every third and on all slices of each role, and without the role."""
    plain = make_phantom(seed, study_id="1", balanced=True)
    ways = {"as scanned": plain.study}
    for role in SERIES_DESCRIPTIONS:
        ways |= {
            f"noise on every third slice of {role}": with_noise(plain.study, role, every=3),
            f"noise on all slices of {role}": with_noise(plain.study, role, every=1),
            f"no {role}": plain.study.without(role),
        }
    return {name: read_back(study) for name, study in ways.items()}, plain.truth.grades.tolist()


def with_noise(study: Study, role: str, *, every: int) -> Study:
    """The study with noise in place of every so many slices of a role."""
    rng = np.random.default_rng(0)
    lost = {id(item) for each in study.series_of(role) for item in each.slices[::every]}

    def scanned(item: Slice) -> Slice:
        if id(item) not in lost:
            return item
        noise = np.abs(rng.normal(0, item.pixels.std() + 1, item.pixels.shape))
        return replace(item, pixels=noise.astype(np.float32))

    return study.with_slices(role, scanned)


WAYS: Mapping[str, Callable[[int], tuple[dict[str, Study], list[int]]]] = {
    "axials": axial_ways,
    "dixon": dixon_ways,
    "noise": noise_ways,
}


def graded(kernel: Kernel, study: Study) -> FloatArray:
    """The (25, 3) grades of a study, the prior where it has none."""
    try:
        return kernel.grade(study).probabilities
    except KernelError:
        return prior()


def measure(what: str, *, studies: int, seed: int = SEED) -> dict[str, StudyTerms]:
    """The terms of the metric, study by study, by name of the way; `prior` stands for no reading at all."""
    kernel = Kernel()
    solution: dict[str, int] = {}
    submissions: dict[str, dict[str, FloatArray]] = {}
    for number in tqdm(range(studies), unit="study"):
        ways, truth = WAYS[what](seed + number)
        rows = list(row_ids(str(number)))
        solution |= dict(zip(rows, truth, strict=True))
        answers = {name: graded(kernel, study) for name, study in ways.items()} | {"prior": prior()}
        for name, grades in answers.items():
            submissions.setdefault(name, {}).update(zip(rows, grades, strict=True))
    return {name: study_terms(solution, submission) for name, submission in submissions.items()}


def print_table(found: Mapping[str, StudyTerms]) -> None:
    """The losses of each way, and how much more they are than in the first, as Markdown."""
    (first, reference), *_ = found.items()
    studies = len(reference.studies)
    times = np.random.default_rng(0).multinomial(studies, np.full(studies, 1 / studies), size=DRAWS)
    print(table_head(f"{studies} phantoms", *TERMS))
    for name, terms in found.items():
        values = terms.losses.sum(axis=0) / terms.weights.sum(axis=0)
        more = values - reference.losses.sum(axis=0) / reference.weights.sum(axis=0)
        drawn = (times @ (terms.losses - reference.losses)) / (times @ reference.weights)
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
        cells = [
            f"{value:.3f}" if name == first else f"{value:.3f} ({extra:+.3f}; {a:+.3f} to {b:+.3f})"
            for value, extra, a, b in zip(values, more, low, high, strict=True)
        ]
        print(table_row(name, *cells))


def main() -> None:
    """Make phantoms, grade them in every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(WAYS))
    parser.add_argument("--studies", type=int, default=60, help="how many phantoms (default: 60)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the first phantom")
    chosen = parser.parse_args()
    print_table(measure(chosen.what, studies=chosen.studies, seed=chosen.seed))


if __name__ == "__main__":
    main()
