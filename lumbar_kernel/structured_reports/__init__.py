"""DICOM Structured Reports and key image selections of a finished run; needs highdicom, the extra `dicom`."""
