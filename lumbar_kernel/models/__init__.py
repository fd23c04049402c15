"""Networks, the manifest of their weights, strict loading, inference and calibration."""
