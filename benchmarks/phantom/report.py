"""Realism of the phantom: `python -m benchmarks.phantom.report [--data DATA_DIR] [--probes] [--json FILE]`.

Prints Markdown tables: sizes compared with the literature, labels compared with the challenge, order of brightness,
round trips of labels through files, acquisition, determinism, cost; with DATA_DIR (layout of `shared/data`) pictures
compared with real ones; with --probes classifiers that must not be able to grade. Exit code 1 if a finding fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.phantom import contrast, cost, files, labels, literature, probes, realism
from benchmarks.phantom.each import each
from benchmarks.phantom.findings import Section, count_passed
from benchmarks.phantom.measurements import Geometry, MeasuredPhantom, geometry, measure_phantom
from evaluation.held_out_studies import complete_studies
from lumbar_kernel.phantom import dataset_study
from lumbar_kernel.results.gallery import draw_gallery

SEED = 700
"""Training phantoms start at seed 1,000,000."""

GALLERY_PHANTOMS = 4


def geometry_sections(made: list[Geometry]) -> Iterator[Section]:
    """What needs no image."""
    sizes = [item.quantities for item in made]
    yield literature.compare(sizes)
    grades = np.array([item.grades for item in made])
    yield labels.marginals(grades)
    yield labels.correlations(grades)
    ruled = [{name: values for name, values in item.items() if name in literature.SIZES} for item in sizes]
    yield labels.single_causes(np.array([item.scores for item in made]), ruled)


def image_sections(made: list[MeasuredPhantom], data: Path | None) -> Iterator[Section]:
    """What images and files show."""
    real = () if data is None else complete_studies(data)
    bright = [contrast.signals(study, truth) for study, truth in real]
    yield contrast.order([item.signals for item in made], bright)
    yield files.geometry([trip for item in made for trip in item.trips], len(made))
    yield files.styles([item.taken for item in made])
    if data is not None:
        pictures: dict[str, list[realism.Statistics]] = {view: [] for view in realism.VIEWS}
        for view, found in (pair for item in made for pair in item.pictures):
            pictures[view].append(found)
        yield realism.realism(pictures, realism.real_samples(data))


def main() -> int:
    """Print the sections and the number of findings that pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truths", type=int, default=1000, help="phantoms without images, for sizes and labels")
    parser.add_argument("--studies", type=int, default=40, help="phantoms with images; the probes need 200")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--data", type=Path, metavar="DATA_DIR", help="real slices to compare with")
    parser.add_argument("--probes", action="store_true", help="train the shortcut probes on the studies with images")
    parser.add_argument("--gallery", type=Path, metavar="FILE.png", help="draw real studies of DATA_DIR and phantoms")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    seed, workers = arguments.seed, arguments.workers
    if arguments.gallery:
        phantoms = (dataset_study(seed, index) for index in range(GALLERY_PHANTOMS))
        real = complete_studies(arguments.data) if arguments.data else ()
        draw_gallery((*real, *((item.study, item.truth) for item in phantoms)), arguments.gallery)
    sections: list[Section] = []
    if arguments.truths:
        truths = each(partial(geometry, seed=seed), range(arguments.truths), workers=workers, unit="truth")
        sections += geometry_sections(truths)
    if arguments.studies:
        studies = each(partial(measure_phantom, seed=seed), range(arguments.studies), workers=workers, unit="study")
        sections += image_sections(studies, arguments.data)
        sections += [files.determinism(studies=4, seed=seed), cost.cost(studies=8)]
        if arguments.probes:
            grades = np.array([item.grades for item in studies])
            sections.append(probes.probe([item.probe_inputs for item in studies], grades))
    for section in sections:
        print(section.markdown(), end="\n\n")
    passed, checked = count_passed(sections)
    print(f"{passed} of {checked} findings as expected.")
    if arguments.json:
        arguments.json.write_text(json.dumps([section.as_dict() for section in sections], indent=1) + "\n")
    return 0 if passed == checked else 1


if __name__ == "__main__":
    sys.exit(main())
