"""Measures speed and memory; results are kept under benchmarks/results/."""
