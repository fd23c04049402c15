import dataclasses
import shutil
import subprocess

import highdicom
import numpy as np
import pytest
from pydicom.sr.codedict import codes

from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SEVERITIES
from lumbar_kernel.structured_reports.codes import CONFIDENCE, FINDINGS, GRADES, LATERALITY, PROBABILITIES, SITES
from lumbar_kernel.structured_reports.document import WARNING, key_images, structured_report


@pytest.fixture(scope="module")
def report(study, images):
    return structured_report(study, images)


def groups_of(report):
    """The measurement groups, on a point or without one."""
    content = highdicom.sr.MeasurementReport.from_sequence([report])
    return content.get_planar_roi_measurement_groups(), content.get_image_measurement_groups()


def test_every_finding_is_a_group_with_its_grade_numbers_and_place(report, study, images):
    on_points, _ = groups_of(report)
    located = [finding for finding in study.findings if finding.point is not None]
    assert len(on_points) == len(located)
    frames = {image.role: image.dataset.FrameOfReferenceUID for image in images}
    shown = {"spinal_canal_stenosis": SAGITTAL_T2, "subarticular_stenosis": AXIAL_T2}
    for group, finding in zip(on_points, located, strict=True):
        assert group.finding_type == FINDINGS[finding.target.group]
        site = group.finding_sites[0]
        assert site.value == SITES[finding.target.level]
        assert site.laterality == LATERALITY.get(finding.target.side)
        values = {item.name.value: item.value for item in group.get_measurements()}
        probabilities = [values[PROBABILITIES[severity].value] for severity in SEVERITIES]
        assert probabilities == pytest.approx(finding.probabilities)
        assert values[CONFIDENCE.value] == pytest.approx(finding.confidence)
        (severity,) = group.get_qualitative_evaluations()
        assert severity.value == GRADES[finding.grade]
        assert np.allclose(group.roi.value, finding.point.mm, atol=1e-3)
        assert group.roi.frame_of_reference_uid == frames[shown.get(finding.target.group, SAGITTAL_T1)]


def test_the_report_belongs_to_the_study_and_claims_no_verification(report, images):
    original = images[0].dataset
    assert report.StudyInstanceUID == original.StudyInstanceUID
    assert report.PatientID == original.PatientID
    assert report.VerificationFlag == "UNVERIFIED"
    assert any(element.value == WARNING for element in report.iterall())
    assert report.SeriesInstanceUID not in {image.dataset.SeriesInstanceUID for image in images}


def test_findings_without_a_point_or_a_frame_of_reference_have_no_coordinates(study, images):
    unplaced = [dataclasses.replace(item, point=None) for item in study.findings]
    on_points, elsewhere = groups_of(structured_report(dataclasses.replace(study, findings=unplaced), images))
    assert (len(on_points), len(elsewhere)) == (0, 25)
    bare = []
    for image in images:
        header = image.dataset.copy()
        del header.FrameOfReferenceUID
        bare.append(dataclasses.replace(image, dataset=header))
    assert groups_of(structured_report(study, bare))[0] == []


def test_key_images_are_the_slices_of_the_points(study, images):
    selection = key_images(study, images)
    chosen = {
        item.ReferencedSOPInstanceUID
        for series in selection.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    roles = {image.role for image in images if image.dataset.SOPInstanceUID in chosen}
    assert {SAGITTAL_T1, SAGITTAL_T2} <= roles
    assert len(chosen) < len(images)
    assert selection.ConceptNameCodeSequence[0].CodeValue == codes.DCM.OfInterest.value
    assert any(element.value == WARNING for element in selection.iterall())
    shown = [item.ReferencedSOPSequence[0] for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    assert sorted(item.ReferencedSOPInstanceUID for item in shown) == sorted(chosen)  # each once
    nowhere = [dataclasses.replace(item, point=None) for item in study.findings]
    assert key_images(dataclasses.replace(study, findings=nowhere), images) is None


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of dicom3tools is not installed")
@pytest.mark.parametrize("kind", [structured_report, key_images])
def test_dciodvfy_finds_no_error(kind, study, images, tmp_path):
    kind(study, images).save_as(tmp_path / "object.dcm", enforce_file_format=True)
    done = subprocess.run(["dciodvfy", tmp_path / "object.dcm"], capture_output=True, text=True, timeout=60)
    said = (done.stdout + done.stderr).splitlines()
    assert any(line in ("Comprehensive3DSR", "KeyObjectSelectionDocument") for line in said)
    assert [line for line in said if line.startswith("Error")] == []


def test_grades_of_an_interrupted_run_have_a_report_without_known_weights(study, images):
    assert structured_report(dataclasses.replace(study, weights_sha256=""), images).DeviceSerialNumber == "none"
