"""Measurements, each a program: `python -m benchmarks.NAME` from the root of the repository."""
