"""Synthetic lumbar studies with truth: geometry first, images and labels from the same painted tissues."""

from lumbar_kernel.phantom.anatomy import Anatomy
from lumbar_kernel.phantom.contrast import CONTRASTS
from lumbar_kernel.phantom.make import PhantomStudy, draw_patient, make_phantom, make_spine, make_truth
from lumbar_kernel.phantom.measure import PhantomTruth
from lumbar_kernel.phantom.rater_noise import grade_probabilities, read_grades
from lumbar_kernel.phantom.write import dataset_study, write_dataset, write_study

__all__ = [
    "CONTRASTS",
    "Anatomy",
    "PhantomStudy",
    "PhantomTruth",
    "dataset_study",
    "draw_patient",
    "grade_probabilities",
    "make_phantom",
    "make_spine",
    "make_truth",
    "read_grades",
    "write_dataset",
    "write_study",
]
