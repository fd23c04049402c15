"""Offline inference kernel for lumbar-spine MRI: DICOM studies in, `submission.csv` out."""

__version__ = "0.1.0"
