"""The views: what a member sees of a study, in which window, and what it can grade there."""

from __future__ import annotations

from dataclasses import dataclass

from lumbar_kernel.schema import CANAL, FORAMINAL, LEVELS, SIDES, SUBARTICULAR

COARSEST_MM = 1.4
"""Pixels of public T1 slices to train on in the largest usual field of view, 350 mm."""


@dataclass(frozen=True)
class CropGeometry:
    """The window of a crop.

    Attributes:
        spacing: mm per pixel.
        shape: rows and columns of one slice of the crop.
        slices: neighbouring slices, an odd number, the middle one nearest to the landmark.
        resolution: finest detail kept, mm; images sharper than the training material are blurred to it.
        frame: pixels along the longer side of a slice of the training material, 0 where it has those of the scanner;
            other slices are blurred as if they had no more, but never to more than `COARSEST_MM`.
    """

    spacing: float
    shape: tuple[int, int]
    slices: int
    resolution: float
    frame: int = 0

    def resolution_of(self, extent_mm: float) -> float:
        """The finest detail kept of a slice whose longer side has this length, mm."""
        return max(self.resolution, min(extent_mm / self.frame, COARSEST_MM) if self.frame else 0.0)


FORAMINA, CANALS, DISCS = "foramina", "canals", "discs"
"""What the crops of a view are centred on: each foramen on sagittal T1, the canal at each disc on sagittal T2, the
middle of the recesses at each disc on axial T2."""


@dataclass(frozen=True)
class View:
    """One view of a study: the crops that are cut and the conditions that can be graded on them.

    Attributes:
        centred_on: one of `FORAMINA`, `CANALS`, `DISCS`.
        geometry: the window.
        groups: the conditions that a member of this view may grade, in the order of its heads.
        sided: whether a level gives a left and a right crop (axial right ones are mirrored to look left) or one.
    """

    centred_on: str
    geometry: CropGeometry
    groups: tuple[str, ...]
    sided: bool


VIEWS = {
    # The public T1 slices to train on have 250 pixels, 1.0 to 1.4 mm. Two more slices bring next to nothing.
    "sagittal_t1": View(FORAMINA, CropGeometry(0.5, (96, 96), 3, 1.0, frame=250), (FORAMINAL,), sided=True),
    "sagittal_t2": View(CANALS, CropGeometry(0.5, (96, 96), 3, 0.5), (CANAL,), sided=False),
    # Half of the public axial crops to train on have 0.26 to 0.33 mm pixels, the others 0.53 mm.
    "axial_t2": View(DISCS, CropGeometry(0.333, (96, 144), 3, 0.333), (CANAL, SUBARTICULAR), sided=True),
    # For owners of whole studies: the detail that their pixels have, and longer stacks.
    "sagittal_t1_fine": View(FORAMINA, CropGeometry(0.4, (128, 128), 5, 0.4), (FORAMINAL,), sided=True),
    "sagittal_t2_fine": View(CANALS, CropGeometry(0.35, (144, 144), 5, 0.35), (CANAL,), sided=False),
    "axial_t2_fine": View(DISCS, CropGeometry(0.3, (112, 160), 5, 0.3), (CANAL, SUBARTICULAR), sided=True),
}
"""The views by name; a member names one in the manifest."""

BASIC_VIEWS = ("sagittal_t1", "sagittal_t2", "axial_t2")
"""The views that single public slices and crops can train."""


def level_and_side(view: View) -> list[tuple[int, int | None]]:
    """Level and side index of each crop of a view, in order."""
    sides: tuple[int | None, ...] = tuple(range(len(SIDES))) if view.sided else (None,)
    return [(level, side) for level in range(len(LEVELS)) for side in sides]
