"""All measurements of one phantom for the report: generated, measured and discarded in one process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.phantom.contrast import signals
from benchmarks.phantom.files import Acquisition, RoundTrip, acquisition, round_trips
from benchmarks.phantom.literature import LUMBAR, Quantities, quantities
from benchmarks.phantom.probes import ProbeInputs, probe_inputs
from benchmarks.phantom.realism import Statistics, phantom_pictures, statistics
from lumbar_kernel.phantom import dataset_study, draw_patient, make_truth, read_grades, write_study
from lumbar_kernel.phantom.write import coordinate_rows
from lumbar_kernel.schema import SAGITTAL_T2

YOUNG = 0.75
"""Signal of a nucleus, 0 to 1, from which it counts as healthy: Pfirrmann I and II."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """One phantom without images: sizes, (25,) grades and the (25,) scores behind them."""

    quantities: Quantities
    grades: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeasuredPhantom:
    """The measurements of one phantom with its images and files.

    Attributes:
        grades: (25,).
        signals: brightness by weighting and region.
        trips: round trip of every label to its file and back.
        taken: acquisition of each series.
        pictures: statistics by view.
        probe_inputs: inputs of the probes.
    """

    grades: NDArray[np.int64]
    signals: Mapping[str, Mapping[str, float]]
    trips: list[RoundTrip]
    taken: list[Acquisition]
    pictures: list[tuple[str, Statistics]]
    probe_inputs: ProbeInputs


def geometry(index: int, *, seed: int) -> Geometry:
    """Sizes and grades of a study of the data set of a seed, without its images."""
    key = np.random.SeedSequence(seed, spawn_key=(index,))
    truth = make_truth(key)
    read = read_grades(truth.scores, np.random.default_rng((seed, index)))
    return Geometry(quantities(truth, draw_patient(key)), read, truth.scores)


def measure_phantom(index: int, *, seed: int) -> MeasuredPhantom:
    """Make one study of the data set of a seed, write it, and look at it from every side."""
    phantom = dataset_study(seed, index)
    study, truth = phantom.study, phantom.truth
    inverted = [protocol.inversion_time is not None for protocol in phantom.protocols]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(phantom, folder)
        taken = [
            acquisition(folder / series.series_id, series.role, suppressed=one)
            for series, one in zip(study.series, inverted, strict=True)
        ]
        trips = round_trips(folder, coordinate_rows(phantom), truth)
        seen = probe_inputs(study, truth, folder, np.random.default_rng((seed, index)))
    suppressed = any(item.suppressed for item in taken if item.role == SAGITTAL_T2)
    healthy = phantom.anatomy.nucleus[LUMBAR] > YOUNG
    return MeasuredPhantom(
        grades=truth.grades,
        signals=signals(study, truth, healthy=healthy.tolist(), suppressed=suppressed),
        trips=trips,
        taken=taken,
        pictures=[(view, statistics(p)) for view, p in phantom_pictures(study, truth, suppressed=suppressed)],
        probe_inputs=seen,
    )
