"""Predictions made elsewhere: what `python -m harness.score` is made of."""
