"""Robustness tests: runs that are killed, cut short or disturbed, and broken files."""
