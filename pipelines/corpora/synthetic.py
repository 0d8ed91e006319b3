"""The synthetic corpus: drawn faces and synthesised voices in real media files.

Accuracy on it says nothing about people; `pipelines/synthesis/README.md` says how it is made.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.corpora.tree import CorpusListing
from pipelines.errors import UsageError, require, require_one_of
from pipelines.records import Clip
from pipelines.storage import location_of, write_json
from pipelines.synthesis.emotions import EMOTIONS, SIGNALS
from pipelines.synthesis.performance import Role, perform
from pipelines.synthesis.write import truth_path, write_clip

MADE_WITH = "corpus.json"
"""Beside the subjects' folders: the settings that the files were made with."""
VERSION = 1
"""Of the drawing and the voice: raise it when the same settings give other files."""


@dataclass
class SyntheticConfig:
    """What the synthetic corpus is to be."""

    name: str = "synthetic"
    root: str = ""
    """The folder where the files are made."""
    subjects: int = 6
    takes: int = 2
    """Clips of each subject and emotion; each take has its own sentence."""
    signal: str = "both"
    """Which modality carries the emotion: both, audio, visual or none."""
    difficulty: float = 0.25
    """0 (strong expressions, clean recordings) to 1 (weak, ambiguous and noisy ones)."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be made, naming the setting."""
        require(self.name == "synthetic", f"corpus.name ({self.name}) must be synthetic")
        require(
            self.subjects >= 2,
            f"corpus.subjects ({self.subjects}) must be at least 2: one is tested and the others "
            "train",
        )
        require(self.takes >= 1, f"corpus.takes ({self.takes}) must be at least 1")
        require_one_of("corpus.signal", self.signal, SIGNALS)
        require(
            0.0 <= self.difficulty <= 1.0,
            f"corpus.difficulty ({self.difficulty}) must be from 0 (easy) to 1 (very hard)",
        )
        require(self.seed >= 0, f"corpus.seed ({self.seed}) must be at least 0")


def read(config: SyntheticConfig) -> CorpusListing:
    """Return the clips of the corpus, whether or not they exist yet."""
    return CorpusListing(name=config.name, root=config.root, clips=tuple(clips(config)))


def clips(config: SyntheticConfig) -> list[Clip]:
    """The clips of the corpus, by subject, emotion and take, whether or not they exist yet."""
    return [
        Clip(
            clip_id=clip_id,
            path=str(location_of(config.root) / f"{clip_id}.avi"),
            subject=f"s{index + 1:02d}",
            emotion=emotion,
            sentence=str(take),
            take=str(take),
            attributes={"sex": _sex(index)},
            corpus=config.name,
        )
        for index in range(config.subjects)
        for emotion in EMOTIONS
        for take in range(1, config.takes + 1)
        for clip_id in [f"s{index + 1:02d}/{emotion}_{take}"]
    ]


def missing(config: SyntheticConfig) -> list[Clip]:
    """The clips that are not there yet, or not whole.

    Raises:
        UsageError: `root` is not set, or holds a corpus made with other settings.
    """
    _check_root(config)
    return [
        clip
        for clip in clips(config)
        for location in [location_of(clip.path)]
        if not all(path.exists() for path in (truth_path(location), location))
    ]


def make_clip(config: SyntheticConfig, clip: Clip) -> None:
    """Make the file of one clip, and its truth beside it; several processes may do so at once.

    Raises:
        UsageError: `root` is not set, or holds a corpus made with other settings.
    """
    _check_root(config)
    made_with = location_of(config.root) / MADE_WITH
    if not made_with.exists():
        write_json(made_with, _settings(config))
    write_clip(perform(role_of(config, clip)), location_of(clip.path))


def role_of(config: SyntheticConfig, clip: Clip) -> Role:
    """What the synthesis is asked for so that it makes `clip`."""
    return Role(
        seed=config.seed,
        clip_id=clip.clip_id,
        subject=clip.subject,
        subject_index=int(clip.subject[1:]) - 1,
        sex=clip.attributes["sex"],
        emotion=clip.emotion,
        sentence=clip.sentence or "",
        signal=config.signal,
        difficulty=config.difficulty,
    )


def _sex(subject_index: int) -> str:
    return "female" if subject_index % 2 else "male"


def _settings(config: SyntheticConfig) -> dict[str, Any]:
    settings = asdict(config)
    del settings["root"]
    return {**settings, "version": VERSION}


def _check_root(config: SyntheticConfig) -> None:
    require(config.root != "", "corpus.root () must name the folder where the clips are made")
    path = location_of(config.root) / MADE_WITH
    if not path.exists():
        return
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(
            f"{path} cannot be read ({error}): remove the folder, or name another"
        ) from error
    wanted = _settings(config)
    different = [
        f"{key} {made.get(key)} (wanted: {wanted.get(key)})"
        for key in sorted(made.keys() | wanted.keys())
        if made.get(key) != wanted.get(key)
    ]
    require(
        not different,
        f"corpus.root ({config.root}) holds a synthetic corpus made with {', '.join(different)}: "
        "name another folder, or remove this one",
    )
