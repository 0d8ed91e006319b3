"""Drawn faces and synthesised voices: media files on which the whole pipeline can run."""
