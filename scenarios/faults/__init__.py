"""Disturbances of a run. Each has a start and a length, and always ends, also when the runner dies."""
