"""What each part of a system adds: variants and rivals of it on the same splits."""
