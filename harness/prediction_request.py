"""Which clips and which model a command line of harness.predict means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.config import StudyConfig
from harness.tracking import tracking_uri
from pipelines.config import compose_config
from pipelines.corpora.folder import VIDEO_SUFFIXES
from pipelines.errors import UsageError, require
from pipelines.model_files import is_model
from pipelines.storage import is_address

OPEN = ("cluster.", "paths.", "tracking.", "faces.model_dir=")
"""What the settings begin with that are not the model's own."""


def told_apart(words: Sequence[str]) -> tuple[list[str], StudyConfig]:
    """Tell clips from settings.

    Raises:
        UsageError: a setting is the model's own, or wrong.
    """
    settings = [word for word in words if re.match(r"[a-z_]+[\w.]*=", word)]
    settings = [word for word in settings if not Path(word).exists()]
    for setting in settings:
        require(
            setting.startswith(OPEN),
            f"{setting}: the model keeps its own settings; only those of cluster., paths. and "
            "tracking. and faces.model_dir can be set here",
        )
    clips = [word for word in words if word not in settings]
    return clips, compose_config("study", StudyConfig, settings)


def find_clips(names: Sequence[str]) -> list[str]:
    """Return the clips that are meant: files as they are named, and the videos in folders.

    Raises:
        UsageError: nothing is named.
    """
    clips: dict[str, str] = {}
    for name in names:
        folder = Path(name)
        inside = [name]
        if not is_address(name) and folder.is_dir():
            found = sorted(path for path in folder.rglob("*") if path.is_file())
            inside = [str(path) for path in found if path.suffix.lower() in VIDEO_SUFFIXES]
            # One without a video is taken for a clip: its outcome says that it is none.
            inside = inside or [name]
        for clip in inside:
            clips.setdefault(place_of(clip), clip)
    require(bool(clips), "no CLIP is named: give media files, or folders of them")
    return list(clips.values())


def place_of(clip: str) -> str:
    """Return where a clip is, whatever folder a process works in."""
    return clip if is_address(clip) else str(Path(clip).absolute())


@contextmanager
def found_model(name: str, config: StudyConfig) -> Iterator[Path]:
    """Give the folder of a model, fetched from MLflow where it is an address, for the block.

    Raises:
        UsageError: there is none.
    """
    if name.startswith(("runs:/", "models:/")):
        # MLflow takes seconds to import.
        from harness.logged_model import fetched_model

        with fetched_model(name, tracking_uri(config.tracking, Path(config.paths.runs))) as folder:
            yield folder
        return
    folder = Path(name).expanduser()
    if is_model(folder):
        yield folder.absolute()
        return
    inside = sorted(path.parent for path in folder.glob("model*/**/model.json"))[:1]
    hint = f"did you mean {inside[0]}?" if inside else "harness.fit and model.keep=true make them"
    raise UsageError(f"--model ({name}) is no folder that holds a model: {hint}")
