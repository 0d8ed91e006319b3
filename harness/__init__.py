"""Judges: who is tested, who trains, the proof that they do not meet, and what came out."""
