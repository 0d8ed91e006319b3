"""The search for settings, nested in the protocol: what `python -m harness.search` is made of."""
