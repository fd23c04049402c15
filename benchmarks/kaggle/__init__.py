"""The notebook rehearsed as the platform runs it, without a network."""
