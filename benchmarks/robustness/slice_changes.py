"""Changes of all slices of an exam: their numbers, their pixel axes and their UIDs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.robustness.exam_changes import Change, all_images
from benchmarks.robustness.hospital import Exam, Image


def shuffled(exam: Exam) -> Exam:
    """InstanceNumber follows no order of places."""
    rng = np.random.default_rng(5)
    return {
        name: [
            image.with_tags(InstanceNumber=int(number) + 1)
            for image, number in zip(images, rng.permutation(len(images)), strict=True)
        ]
        for name, images in exam.items()
    }


def backwards(exam: Exam) -> Exam:
    """Slices numbered and stored from the other side."""
    return {name: images[::-1] for name, images in exam.items()}


def flipped(exam: Exam) -> Exam:
    """Rows run from right to left of what they did."""

    def flip(image: Image) -> Image:
        plane, columns = image.plane, image.plane.shape[1]
        far = plane.to_mm(np.array([0.0, columns - 1.0]))
        return replace(
            image,
            plane=replace(plane, origin=far, row_direction=-plane.row_direction),
            pixels=image.pixels[:, ::-1].copy(),
        )

    return all_images(exam, flip)


def transposed(exam: Exam) -> Exam:
    """Rows and columns change places."""

    def turn(image: Image) -> Image:
        plane = image.plane
        turned = replace(
            plane,
            row_direction=plane.column_direction,
            column_direction=plane.row_direction,
            row_spacing=plane.column_spacing,
            column_spacing=plane.row_spacing,
            shape=plane.shape[::-1],
        )
        return replace(image, plane=turned, pixels=image.pixels.T.copy())

    return all_images(exam, turn)


def one_series_uid(exam: Exam) -> Exam:
    """All series have the UID of one."""
    return all_images(exam, lambda image: image.with_tags(SeriesInstanceUID="1.2.826.1.1", SeriesNumber=1))


def no_series_uid(exam: Exam) -> Exam:
    """No file has a SeriesInstanceUID."""
    return all_images(exam, lambda image: image.with_tags(SeriesInstanceUID=None))


def one_uid_a_file(exam: Exam) -> Exam:
    """Every file has a SeriesInstanceUID of its own."""
    return all_images(exam, lambda image: image.with_tags(SeriesInstanceUID=f"{image.tags['SOPInstanceUID']}.1"))


def no_patient(exam: Exam) -> Exam:
    """De-identified: neither patient nor study dates."""
    gone = ("PatientID", "PatientBirthDate", "PatientSex", "AcquisitionDate", "AcquisitionTime", "SeriesNumber")
    return all_images(exam, lambda image: image.with_tags(**dict.fromkeys(gone)))


RENUMBERED: dict[str, Change] = {
    "instance numbers shuffled": shuffled,
    "slices backwards": backwards,
    "images flipped": flipped,
    "images transposed": transposed,
    "de-identified": no_patient,
}
"""Name → change of the slices; nothing is lost."""
