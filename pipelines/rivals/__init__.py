"""Published rivals of the networks, as far as their descriptions allow: see docs/rivals.md."""
