"""Computes: from clips on a disk to segment shards, features and trained networks."""
