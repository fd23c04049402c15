"""Findings of a study → a DICOM Structured Report (TID 1500) and a selection of key images (TID 2010)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import highdicom
import numpy as np
from highdicom import UID, sr
from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.sr.codedict import codes

from lumbar_kernel.results.tables import GradeRecord
from lumbar_kernel.schema import SEVERITIES
from lumbar_kernel.structured_reports.codes import (
    CONFIDENCE,
    FINDINGS,
    GRADES,
    LATERALITY,
    MR_OF_LUMBAR_SPINE,
    NO_UNITS,
    PROBABILITIES,
    SEVERITY,
    SITES,
)
from lumbar_kernel.structured_reports.findings import SHOWN_ON, StudyFindings
from lumbar_kernel.structured_reports.sources import SourceImage, nearest_image

MANUFACTURER = "lumbar_kernel"
WARNING = "Graded by lumbar_kernel for research; not for clinical use."
SR_SERIES, KEY_IMAGE_SERIES = 9901, 9902
"""Series numbers; scanners number their own series from 1."""


def structured_report(study: StudyFindings, images: Sequence[SourceImage]) -> Any:
    """A Comprehensive 3D SR with one measurement group for each graded row: grade, probabilities, confidence, point.

    A point needs the FrameOfReferenceUID of the series that it was found on; a finding without one has no coordinates.

    Args:
        study: with at least one finding.
        images: slices of the series used, at least one.
    """
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(study)),
        procedure_reported=MR_OF_LUMBAR_SPINE,
        imaging_measurements=[_group(finding, study, images) for finding in study.findings],
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
            sr.CodedConcept(value="en-US", meaning="English (United States)", scheme_designator="RFC5646")
        ),
    )
    return sr.Comprehensive3DSR(
        evidence=_files(images),
        content=content[0],
        is_complete=True,
        device_serial_number=study.weights_sha256[:16] or "none",
        **_own_series(study, number=SR_SERIES, description="lumbar_kernel grades (research only)"),
    )


def key_images(study: StudyFindings, images: Sequence[SourceImage]) -> Any | None:
    """A selection of the slices on which the points lie; None where no point was found."""
    shown = [
        image
        for finding in study.findings
        if finding.point is not None
        and (image := nearest_image(images, np.array(finding.point.mm), SHOWN_ON[finding.target.group])) is not None
    ]
    if not shown:
        return None
    selected = _files(shown)
    content = KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=selected,
        observer_device_context=_observer(study),
        description=WARNING,
    )
    return KeyObjectSelectionDocument(
        evidence=selected,
        content=content,
        **_own_series(study, number=KEY_IMAGE_SERIES, description="lumbar_kernel key images (research only)"),
    )


def _own_series(study: StudyFindings, *, number: int, description: str) -> dict[str, Any]:
    """A new series with one object, made by this package."""
    return {
        "series_instance_uid": UID(),
        "series_number": number,
        "series_description": description,
        "sop_instance_uid": UID(),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MANUFACTURER,
        "software_versions": study.version,
    }


def _files(images: Sequence[SourceImage]) -> list[Any]:
    """The files of slices, each once."""
    return list({image.dataset.SOPInstanceUID: image.dataset for image in images}.values())


def _observer(study: StudyFindings) -> Any:
    identity = sr.DeviceObserverIdentifyingAttributes(
        uid=UID(), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=f"version {study.version}"
    )
    return sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=identity)


def _group(finding: GradeRecord, study: StudyFindings, images: Sequence[SourceImage]) -> Any:
    """One measurement group: on its point (TID 1410) where there is one, else without a region (TID 1501)."""
    target, point = finding.target, finding.point
    common = {
        "tracking_identifier": sr.TrackingIdentifier(uid=UID(), identifier=target.row.replace("_", " ")),
        "finding_type": FINDINGS[target.group],
        "algorithm_id": sr.AlgorithmIdentification(
            name=MANUFACTURER, version=study.version, parameters=[f"weights {study.weights_sha256}", WARNING]
        ),
        "finding_sites": [
            sr.FindingSite(anatomic_location=SITES[target.level], laterality=LATERALITY.get(target.side))
        ],
        "measurements": list(_measurements(finding)),
        "qualitative_evaluations": [sr.QualitativeEvaluation(name=SEVERITY, value=GRADES[finding.grade])],
    }
    image = None if point is None else nearest_image(images, np.array(point.mm), SHOWN_ON[target.group])
    frame = None if image is None else image.dataset.get("FrameOfReferenceUID")
    if point is None or not frame:
        return sr.MeasurementsAndQualitativeEvaluations(**common)
    region = sr.ImageRegion3D(
        graphic_type=highdicom.sr.GraphicTypeValues3D.POINT,
        graphic_data=np.array([point.mm]),
        frame_of_reference_uid=frame,
    )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **common)


def _measurements(finding: GradeRecord) -> Iterator[Any]:
    for severity, value in zip(SEVERITIES, finding.probabilities, strict=True):
        yield sr.Measurement(name=PROBABILITIES[severity], value=value, unit=NO_UNITS)
    if finding.confidence is not None:
        yield sr.Measurement(name=CONFIDENCE, value=finding.confidence, unit=NO_UNITS)
