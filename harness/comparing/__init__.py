"""Studies side by side: what `python -m harness.compare` is made of."""
