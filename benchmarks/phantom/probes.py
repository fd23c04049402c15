"""Shortcut probes: classifiers of headers, histograms, or pictures without the spine, which must not be able to grade.

If they succeed, the phantoms reveal their grades by something that no radiologist uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.phantom.findings import Finding, Section, at_most
from benchmarks.phantom.labels import columns
from benchmarks.phantom.regression import MIN_PROBABILITY
from evaluation.study_interval import study_interval
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR
from lumbar_kernel.grids import centred_grid, upright_grid
from lumbar_kernel.intensities import normalise
from lumbar_kernel.phantom import PhantomTruth
from lumbar_kernel.resampling import sample
from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import AXIAL_T2, GROUPS, LEVELS, SAGITTAL_T1, SAGITTAL_T2, SEVERITIES, SEVERITY_WEIGHTS
from lumbar_kernel.slice_choice import axial_showing, nearest_sagittal
from lumbar_kernel.study import Slice, Study

MAX_GAIN = 0.02
"""What a probe's weighted log loss may be below that of the best constant per level."""

FOLDS = 5
BINS = 24
MIXTURES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of a probe's prediction in its answer, the rest being the constant; chosen on other folds, so that a useless
probe does not worsen the score."""

PATCH_MM, PATCH_PIXELS = 48.0, 16
PATCH_BESIDE_MM = 54.0
"""Middle of an off-spine patch lateral of the canal: its inner edge is 30 mm away, outside joints and pedicles."""

MASKED_PIXELS = 24
AXIAL_MASK_MM = ((-48.0, 50.0), (-32.0, 32.0))
SAGITTAL_MASK_MM = (-55.0, 62.0)
"""Hidden around the canal: from front to back and, on axial slices, from patient right to left; the same box in every
study, so that its shape carries no information."""

AXIAL_FIELD_MM, SAGITTAL_FIELD_MM = 150.0, 220.0

HEADER, HISTOGRAM, OFF_SPINE, MASKED = "header only", "histogram only", "off-spine crop", "spine masked"
PIXEL_PROBES = (OFF_SPINE, MASKED)
COMPONENTS = 24


@dataclass(frozen=True, eq=False)
class ProbeInputs:
    """What the probes may see of one study.

    Attributes:
        header: numbers of the headers by name.
        histogram: (n,) of whole series.
        off_spine, masked: (5, n) by level.
    """

    header: Mapping[str, float]
    histogram: NDArray[np.float32]
    off_spine: NDArray[np.float32]
    masked: NDArray[np.float32]


def probe_inputs(study: Study, truth: PhantomTruth, folder: Path, rng: np.random.Generator) -> ProbeInputs:
    """The probe inputs of a phantom with its files in `folder/<series>/`."""
    return ProbeInputs(
        header=_header(study, folder),
        histogram=np.concatenate([_histogram(study, role) for role in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2)]),
        off_spine=np.stack([_off_spine(study, truth, level, rng) for level in range(len(LEVELS))]),
        masked=np.stack([_masked(study, truth, level) for level in range(len(LEVELS))]),
    )


def _header(study: Study, folder: Path) -> dict[str, float]:
    """Every number and word in the first header of each role's first series, and how many files it has."""
    found: dict[str, float] = {"series": len(study.series)}
    for role in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2):
        series = next((item for item in study.series if item.role == role), None)
        if series is None:
            continue
        paths = sorted((folder / series.series_id).glob("*.dcm"), key=lambda path: int(path.stem))
        found[f"{role} files"] = len(paths)
        for element in pydicom.dcmread(paths[0], stop_before_pixels=True):
            values = element.value if element.VM > 1 else [element.value]
            if element.VR in ("UI", "SQ") or element.keyword in ("PatientID", "InstanceNumber"):
                continue
            for place, value in enumerate(values):
                found[f"{role} {element.keyword} {place}"] = _number(value)
    return found


def _number(value: object) -> float:
    """A number unchanged, a word as a number."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float(sum(ord(letter) * (7 + place) for place, letter in enumerate(str(value))) % 9973)


def _histogram(study: Study, role: str) -> NDArray[np.float32]:
    slices = study.slices(role)
    if not slices:
        return np.zeros(BINS, np.float32)
    values = normalise(np.concatenate([item.pixels.ravel()[::7] for item in slices])[None])
    return (np.histogram(values, BINS, (0, 1.5))[0] / values.size).astype(np.float32)


def _off_spine(study: Study, truth: PhantomTruth, level: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A patch of the level's axial slice at a random place lateral of the spine."""
    item = axial_showing(study.slices(AXIAL_T2), truth.canal[level], normal=truth.disc_normal[level])
    side, shift = rng.choice((-1.0, 1.0)), rng.uniform(-25, 25)
    if item is None:
        return np.zeros(PATCH_PIXELS**2, np.float32)
    centre = truth.canal[level] + side * PATCH_BESIDE_MM * LEFT + shift * POSTERIOR
    spacing, shape = PATCH_MM / PATCH_PIXELS, (PATCH_PIXELS, PATCH_PIXELS)
    grid = upright_grid(item.plane, centre, sagittal=False, spacing=spacing, shape=shape)
    return normalise(sample(item, grid)).ravel()


def _masked(study: Study, truth: PhantomTruth, level: int) -> NDArray[np.float32]:
    """The level's axial slice and the middle T2 slice with the spine hidden."""
    sagittal = study.slices(SAGITTAL_T2) or study.slices(SAGITTAL_T1)
    canal, middle = truth.canal[level], truth.canal.mean(axis=0)
    item = axial_showing(study.slices(AXIAL_T2), canal, normal=truth.disc_normal[level])
    lateral = nearest_sagittal(sagittal, middle) if sagittal else None
    everywhere = (-np.inf, np.inf)
    return np.concatenate(
        [
            _hidden(item, canal, (POSTERIOR, LEFT), AXIAL_FIELD_MM, AXIAL_MASK_MM),
            _hidden(lateral, middle, (-CRANIAL, POSTERIOR), SAGITTAL_FIELD_MM, (everywhere, SAGITTAL_MASK_MM)),
        ]
    )


def _hidden(
    item: Slice | None,
    centre: FloatArray,
    axes: tuple[FloatArray, FloatArray],
    field_mm: float,
    box: tuple[tuple[float, float], tuple[float, float]],
) -> NDArray[np.float32]:
    """A slice on a coarse grid with a box around the centre hidden, brightness scaled by what is left of it.

    Args:
        item: the slice; a black picture where there is none.
        centre: of the grid, mm LPS.
        axes: unit vectors down and right.
        field_mm: side of the grid.
        box: what is hidden along both axes, mm from the centre.
    """
    shape = (MASKED_PIXELS, MASKED_PIXELS)
    if item is None:
        return np.zeros(MASKED_PIXELS**2, np.float32)
    spacing = field_mm / MASKED_PIXELS
    picture = sample(item, centred_grid(centre, down=axes[0], right=axes[1], spacing=spacing, shape=shape))
    place = (np.arange(MASKED_PIXELS) - (MASKED_PIXELS - 1) / 2) * spacing
    picture[np.ix_(*((place > low) & (place < high) for low, high in box))] = 0
    return normalise(picture).ravel()


def probe(found: Sequence[ProbeInputs], grades: NDArray[np.int64]) -> Section:
    """Every probe on every condition, from the inputs of n studies and their (n, 25) labels."""
    names = sorted(set().union(*(item.header for item in found)))
    header = np.array([[item.header.get(name, np.nan) for name in names] for item in found], dtype=float)
    by_level = {
        HEADER: np.repeat(header[:, None], len(LEVELS), axis=1),
        HISTOGRAM: np.repeat(np.stack([item.histogram for item in found])[:, None], len(LEVELS), axis=1),
        OFF_SPINE: np.stack([item.off_spine for item in found]),
        MASKED: np.stack([item.masked for item in found]),
    }
    findings = [probe_finding(name, group, features, grades) for name, features in by_level.items() for group in GROUPS]
    return Section("Shortcut probes: weighted log loss below the constant per level", tuple(findings))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Graded rows: features, level, study and its fold, label."""

    features: FloatArray
    level: NDArray[np.intp]
    study: NDArray[np.intp]
    fold: NDArray[np.intp]
    labels: NDArray[np.int64]


def _rows(features: FloatArray, grades: NDArray[np.int64], group: str) -> _Rows:
    study, level, side = np.meshgrid(
        np.arange(len(grades)), np.arange(len(LEVELS)), np.arange(len(columns(group, 0))), indexing="ij"
    )
    table = np.array([columns(group, k) for k in range(len(LEVELS))])
    labels = grades[study, table[level, side]].ravel()
    known = labels >= 0
    study, level = study.ravel()[known], level.ravel()[known]
    fold = np.random.default_rng(0).permutation(len(grades))[study] % FOLDS
    return _Rows(features[study, level], level, study, fold, labels[known])


def probe_finding(name: str, group: str, features: FloatArray, grades: NDArray[np.int64]) -> Finding:
    """One probe on one condition, cross-validated by study: its loss compared with the best constant per level.

    Args:
        name: of the probe.
        group: condition.
        features: (n, 5, features) of n studies by level, NaN where unknown.
        grades: (n, 25) labels, -1 where there is none.
    """
    rows = _rows(features, grades, group)
    constant, predicted = np.zeros((2, len(rows.labels), len(SEVERITIES)))
    for fold in range(FOLDS):
        held = rows.fold == fold
        table = _constant(rows, ~held)
        constant[held] = table[rows.level[held]]
        predicted[held] = _fitted(rows, ~held, table, reduced=name in PIXEL_PROBES)
    mixed = _mixed(rows, constant, predicted)

    def gain(chosen: NDArray[np.intp]) -> float:
        labels = rows.labels[chosen]
        return weighted_log_loss(labels, constant[chosen]) - weighted_log_loss(labels, mixed[chosen])

    every = np.arange(len(rows.labels))
    names = np.array([f"{number:06}" for number in rows.study])  # in the order of the numbers
    low, high = study_interval(names, gain, draws=300)
    level = weighted_log_loss(rows.labels, constant)
    note = f"95 % interval {low:.3f} to {high:.3f}; constant {level:.3f}; n {len(every)}"
    return at_most(f"{name}: {group.replace('_', ' ')}", gain(every), MAX_GAIN, note)


def _constant(rows: _Rows, train: NDArray[np.bool_]) -> FloatArray:
    """The best constant of each level on the training rows, (5, 3), two rows of the pooled mix added to each."""
    weight = np.array(SEVERITY_WEIGHTS)
    counts = np.zeros((len(LEVELS), len(SEVERITIES)))
    np.add.at(counts, (rows.level[train], rows.labels[train]), 1)
    pooled = (counts.sum(axis=0) + 0.5) / (counts.sum() + 0.5 * len(SEVERITIES))
    weighted = (counts + 2 * pooled) * weight
    constant: FloatArray = weighted / weighted.sum(axis=1, keepdims=True)
    return constant


def _fitted(rows: _Rows, train: NDArray[np.bool_], table: FloatArray, *, reduced: bool) -> FloatArray:
    """A small boosted classifier's probabilities for the rows that it was not trained on, (n, 3)."""
    features = rows.features
    if reduced:
        components = min(COMPONENTS, features.shape[1], int(train.sum()) - 1)
        # fitted on the training studies alone, each level of which counts once
        _, first = np.unique(rows.study[train] * len(LEVELS) + rows.level[train], return_index=True)
        features = PCA(components, random_state=0).fit(features[train][first]).transform(features)
    features = np.column_stack([features, np.eye(len(LEVELS))[rows.level], np.log(table)[rows.level]])
    model = HistGradientBoostingClassifier(
        max_iter=50, max_depth=3, learning_rate=0.06, min_samples_leaf=15, l2_regularization=1.0, random_state=0
    )
    weight = np.array(SEVERITY_WEIGHTS)[rows.labels[train]]
    model.fit(features[train], rows.labels[train], sample_weight=weight)
    predicted = np.full((int((~train).sum()), len(SEVERITIES)), MIN_PROBABILITY)
    predicted[:, model.classes_] = model.predict_proba(features[~train])
    shares: FloatArray = predicted / predicted.sum(axis=1, keepdims=True)
    return shares


def _mixed(rows: _Rows, constant: FloatArray, predicted: FloatArray) -> FloatArray:
    """The constant moved towards the prediction by the amount that is best on the other folds."""
    mixed = np.zeros_like(predicted)
    for fold in range(FOLDS):
        held = rows.fold == fold
        losses = [
            weighted_log_loss(rows.labels[~held], _towards(constant[~held], predicted[~held], share))
            for share in MIXTURES
        ]
        mixed[held] = _towards(constant[held], predicted[held], MIXTURES[int(np.argmin(losses))])
    return mixed


def _towards(constant: FloatArray, predicted: FloatArray, share: float) -> FloatArray:
    logits = (1 - share) * np.log(constant) + share * np.log(predicted)
    likely = np.exp(logits)
    moved: FloatArray = likely / likely.sum(axis=1, keepdims=True)
    return moved
