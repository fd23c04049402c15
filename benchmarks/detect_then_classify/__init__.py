"""Detector-then-classifier entries: a detector finds the levels on a slice, a small net grades a crop at each."""
