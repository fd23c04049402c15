"""Rehearsal of the notebook as the platform runs it, without a network."""
