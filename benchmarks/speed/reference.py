"""A plain loop in the manner of public kernels: network by network, study by study, each time reading with pydicom.

It uses the same weights in single precision, as timm builds the networks, and torch's own choice of threads. What the
kernel shares between networks (decoded slices, crops, batches) is made again for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar
from unittest.mock import patch

import numpy as np
from torch import nn

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.grading.crops import cut_crops
from lumbar_kernel.grading.ensemble import combine, row_weights
from lumbar_kernel.grading.grader import grade
from lumbar_kernel.localisation.axial import AxialLevels, axial_levels
from lumbar_kernel.localisation.landmarks import Landmarks, decode
from lumbar_kernel.localisation.slice_maps import SliceMaps, slice_maps
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import LocaliserSpec, Manifest, MemberSpec, WeightsFile
from lumbar_kernel.models.storage import from_bytes
from lumbar_kernel.schema import SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study, StudyFiles
from lumbar_kernel.views import VIEWS

Net = TypeVar("Net", bound=nn.Module)


def plain_loop(studies: Sequence[StudyFiles], manifest: Manifest) -> dict[str, FloatArray]:
    """Grades (25, 3) of every study, by its id; all studies need sagittal series."""
    landmarks = _landmarks(studies, manifest)
    axial = _axial_levels(studies, manifest, landmarks)
    predictions: dict[str, dict[str, FloatArray]] = {files.study_id: {} for files in studies}
    for spec in manifest.members:
        for study_id, of_study in _graded(studies, manifest, spec, landmarks, axial).items():
            predictions[study_id][spec.name] = of_study
    return {
        study_id: combine(of_study, manifest, row_weights(landmarks[study_id])).grades
        for study_id, of_study in predictions.items()
    }


def _landmarks(studies: Sequence[StudyFiles], manifest: Manifest) -> dict[str, Landmarks]:
    maps: dict[str, list[list[SliceMaps]]] = {files.study_id: [] for files in studies}
    for item in manifest.sagittal.files:
        net = _localiser(manifest, manifest.sagittal, item)
        for files in studies:
            study = _by_pydicom(files)
            slices = (*study.slices(SAGITTAL_T1), *study.slices(SAGITTAL_T2))
            maps[files.study_id].append(slice_maps(slices, [net]))
    found = {}
    for files in studies:
        mean = [_mean(of_slice) for of_slice in zip(*maps[files.study_id], strict=True)]
        t1 = len(_by_pydicom(files).slices(SAGITTAL_T1))
        found[files.study_id] = decode(mean[:t1], mean[t1:])
    return found


def _mean(maps: Sequence[SliceMaps]) -> SliceMaps:
    return SliceMaps(maps[0].grid, np.asarray(np.mean([item.maps for item in maps], axis=0), dtype=np.float32))


def _axial_levels(
    studies: Sequence[StudyFiles], manifest: Manifest, landmarks: Mapping[str, Landmarks]
) -> dict[str, AxialLevels]:
    nets = [_localiser(manifest, manifest.axial, item) for item in manifest.axial.files]
    return {files.study_id: axial_levels(_by_pydicom(files), landmarks[files.study_id], nets)[1] for files in studies}


def _graded(
    studies: Sequence[StudyFiles],
    manifest: Manifest,
    spec: MemberSpec,
    landmarks: Mapping[str, Landmarks],
    axial: Mapping[str, AxialLevels],
) -> dict[str, FloatArray]:
    """Probabilities (25, 3) of one member for the studies that have its view."""
    view = VIEWS[spec.view]
    by_net: dict[str, list[FloatArray]] = {}
    for item in spec.files:
        net = _load(GradeNet(spec.architecture, in_chans=spec.in_chans, heads=len(view.groups)), manifest, item)
        for files in studies:
            study, study_id = _by_pydicom(files), files.study_id
            crops = cut_crops(study, landmarks[study_id], axial[study_id], views=(spec.view,))
            if spec.view in crops:
                graded = grade([crops[spec.view]], [net], view=view)[0]
                by_net.setdefault(study_id, []).append(graded)
    return {study_id: np.asarray(np.mean(graded, axis=0)) for study_id, graded in by_net.items()}


def _by_pydicom(files: StudyFiles) -> Study:
    """A study whose files pydicom reads, also where the kernel reads ordinary ones by itself."""
    headers = patch("lumbar_kernel.dicom.headers.ordinary_header", return_value=None)
    pixels = patch("lumbar_kernel.dicom.pixels.ordinary_pixels", return_value=None)
    with headers, pixels:
        return read_study(files)


def _localiser(manifest: Manifest, spec: LocaliserSpec, item: WeightsFile) -> HeatmapNet:
    return _load(HeatmapNet(spec.architecture, points=spec.points), manifest, item)


def _load(net: Net, manifest: Manifest, item: WeightsFile) -> Net:
    net.load_state_dict(from_bytes((manifest.folder / item.file).read_bytes()))
    return net.eval()
