"""Runs that are killed, cut short or harmed, and files that are broken, on purpose."""
