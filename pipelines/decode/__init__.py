"""One media file as frames and audio on one clock.

Runs inside a child process (`pipelines.sandbox_child`): decoders crash and hang on damaged files.
`facts` holds what is said about a file, `scan` reads it through once, `frames` fetches pixels,
`reader` puts them together.
"""

from pipelines.decode.facts import DecodeError, MediaInfo
from pipelines.decode.reader import ClipReader

__all__ = ["ClipReader", "DecodeError", "MediaInfo"]
