"""Changes of the series of an exam: further ones, other headers, other contrasts, another position of the patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import cv2
import numpy as np

from benchmarks.robustness.hospital import AXIAL, T2, Exam, Image, Look, Tags
from lumbar_kernel.arrays import Float32Array, FloatArray
from lumbar_kernel.geometry import SlicePlane

DERIVED = ["DERIVED", "PRIMARY"]
Change = Callable[[Exam], Exam]


def inverted(pixels: Float32Array) -> Float32Array:
    """Another contrast: what was bright is dark."""
    dark: Float32Array = pixels.max() - pixels
    return dark


def fat_suppressed(pixels: Float32Array) -> Float32Array:
    """Another contrast: the brightest tissue of a T1 image turned dark."""
    return pixels * np.where(pixels > np.percentile(pixels, 80), np.float32(0.25), np.float32(1.0))


def enhanced(pixels: Float32Array) -> Float32Array:
    """Another contrast: medium signals raised, as by a contrast agent."""
    raised: Float32Array = pixels + 0.5 * cv2.GaussianBlur(pixels, (0, 0), 3)
    return raised


def moved(pixels: Float32Array) -> Float32Array:
    """Ghosts of a patient who moved."""
    return 0.5 * pixels + 0.5 * np.roll(pixels, pixels.shape[0] // 7, axis=0)


def noise(pixels: Float32Array) -> Float32Array:
    """A map without anatomy."""
    return np.random.default_rng(1).gamma(2.0, 200.0, pixels.shape).astype(np.float32)


def all_images(exam: Exam, change: Callable[[Image], Image]) -> Exam:
    """The exam with every slice changed."""
    return {name: [change(image) for image in images] for name, images in exam.items()}


def tagged(folder: str, **tags: Any) -> Change:
    """Gives a series other elements."""
    return lambda exam: exam | {folder: [image.with_tags(**tags) for image in exam[folder]]}


def extra(folder: str, source: str, change: Look, **tags: Any) -> Change:
    """Adds a series: the slices of another one with changed pixels and elements, acquired last."""

    def add(exam: Exam) -> Exam:
        number = 1 + max(image.tags.get("SeriesNumber") or 0 for images in exam.values() for image in images)
        same = {"SeriesNumber": number, "AcquisitionTime": f"10{30 + number}00"}
        images = []
        for image in exam[source]:
            uids = {name: f"{image.tags[name]}.{number}" for name in ("SeriesInstanceUID", "SOPInstanceUID")}
            images.append(image.with_pixels(change).with_tags(**{**uids, **same, **tags}))
        return exam | {folder: images}

    return add


def without(*folders: str) -> Change:
    """Leaves series out."""
    return lambda exam: {name: images for name, images in exam.items() if not name.startswith(folders)}


def together(*changes: Change) -> Change:
    """Several changes one after the other."""
    return lambda exam: reduce(lambda changed, step: step(changed), changes, exam)


def stripped(exam: Exam) -> Exam:
    """Every element that hints at the weighting is gone."""
    hints = ("SeriesDescription", "RepetitionTime", "EchoTime", "InversionTime", "ScanningSequence", "SequenceName")
    gone: Tags = dict.fromkeys((*hints, "ImageType", "ScanOptions", "PulseSequenceName"))
    return all_images(exam, lambda image: image.with_tags(**gone))


def scout(exam: Exam) -> Exam:
    """A localiser in three planes that no word names, of one slice each, before the other series."""
    middle = exam[T2][len(exam[T2]) // 2]
    axes = np.eye(3)
    planes = [(axes[1], -axes[2]), (axes[0], axes[1]), (axes[0], -axes[2])]
    images = []
    for index, (row, column) in enumerate(planes):
        plane = replace(middle.plane, row_direction=row, column_direction=column)
        tags = {"SeriesInstanceUID": "1.2.826.77", "SOPInstanceUID": f"1.2.826.77.{index}", "SeriesDescription": "T2"}
        images.append(replace(middle, plane=plane).with_tags(**tags, InstanceNumber=index + 1))
    return {"0": images, **exam}


def dixon_in_one(folder: str, style: str) -> Change:
    """One series holds four images of each place, distinguished by ImageType alone."""
    names = {
        "siemens": ("IN_PHASE", "WATER", "FAT", "OPP_PHASE"),
        "philips": ("IP", "W", "F", "OP"),
    }[style]
    looks: tuple[Look, ...] = (lambda pixels: pixels, fat_suppressed, inverted, moved)

    def change(exam: Exam) -> Exam:
        images = []
        for kind, (name, look) in enumerate(zip(names, looks, strict=True)):
            for image in exam[folder]:
                tags = {
                    "ImageType": [*DERIVED, "DIXON", name],
                    "InstanceNumber": len(names) * image.tags["InstanceNumber"] - kind,
                    "SOPInstanceUID": f"{image.tags['SOPInstanceUID']}.{kind}",
                }
                images.append(image.with_pixels(look).with_tags(**tags))
        return exam | {folder: images}

    return change


def dual_echo(exam: Exam) -> Exam:
    """Sagittal proton density and T2 in one series, distinguished by EchoTime."""
    first = [image.with_tags(SeriesDescription="SAG PD+T2") for image in exam[T2]]
    second = [
        image.with_pixels(inverted).with_tags(
            EchoTime=15,
            InstanceNumber=image.tags["InstanceNumber"] + 500,
            SOPInstanceUID=f"{image.tags['SOPInstanceUID']}.9",
        )
        for image in first
    ]
    return exam | {T2: [*second, *first]}


def shifted(folder: str, *millimetres: float) -> Change:
    """A series in the coordinates of a patient who has moved, with a frame of reference of its own."""

    def change(image: Image) -> Image:
        plane = replace(image.plane, origin=image.plane.origin + np.array(millimetres))
        return replace(image, plane=plane).with_tags(FrameOfReferenceUID="1.2.826.99")

    return lambda exam: exam | {folder: [change(image) for image in exam[folder]]}


def turned(degrees: float) -> Change:
    """The patient lies in the scanner with the pelvis tilted, so that every slice is turned about the x axis."""
    angle = np.radians(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return lambda exam: all_images(exam, lambda image: replace(image, plane=_turned(image.plane, turn)))


def steepest(exam: Exam) -> float:
    """Largest angle between an axial slice and the axial plane, degrees, positive where it rises backwards."""
    normals = [image.plane.normal * np.sign(image.plane.normal[2]) for image in exam[AXIAL]]
    return max(float(np.degrees(np.arctan2(-normal[1], normal[2]))) for normal in normals)


def steep_to(degrees: float) -> Change:
    """Turns the patient so that the steepest axial block is tilted by this much."""
    return lambda exam: turned(degrees - steepest(exam))(exam)


def _turned(plane: SlicePlane, turn: FloatArray) -> SlicePlane:
    return replace(
        plane,
        origin=turn @ plane.origin,
        row_direction=turn @ plane.row_direction,
        column_direction=turn @ plane.column_direction,
    )


def split(folder: str) -> Change:
    """Halves of one series as two series."""

    def change(exam: Exam) -> Exam:
        half = len(exam[folder]) // 2
        uid = f"{exam[folder][0].tags['SeriesInstanceUID']}.5"
        second = [image.with_tags(SeriesInstanceUID=uid) for image in exam[folder][half:]]
        return exam | {folder: exam[folder][:half], f"{folder}_b": second}

    return change


def cut_to(folder: str, count: int) -> Change:
    """An interrupted series: only its first slices."""
    return lambda exam: exam | {folder: exam[folder][:count]}


def raised(folder: str, source: str, millimetres: float, **tags: Any) -> Change:
    """A series of the same contrast, acquired higher up: another station of the whole spine."""
    return together(extra(folder, source, moved, **tags), shifted(folder, 0.0, 0.0, millimetres))
