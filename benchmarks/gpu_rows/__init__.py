"""The measurements of `python -m benchmarks.gpu`, one a module: torch and NumPy only."""
