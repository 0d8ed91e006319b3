"""Which corpora there are, and the clips of the one that the configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.corpora import csv_manifest, synthetic
from pipelines.corpora.csv_manifest import CsvManifestConfig
from pipelines.corpora.synthetic import SyntheticConfig
from pipelines.errors import UsageError, require
from pipelines.records import Clip, from_row

CORPUS_CONFIGS: dict[str, type] = {
    "csv_manifest": CsvManifestConfig,
    "synthetic": SyntheticConfig,
}
"""Name in `corpus=NAME` -> its settings."""


def list_clips(config: object) -> list[Clip]:
    """Return the clips of a corpus, sorted by id; nothing is decoded.

    Raises:
        UsageError: the corpus is not there, or holds no clip.
    """
    if isinstance(config, CsvManifestConfig):
        clips = csv_manifest.clips(config)
    elif isinstance(config, SyntheticConfig):
        clips = synthetic.clips(config)
    else:
        raise UsageError(f"corpus ({config!r}) is none of: {', '.join(CORPUS_CONFIGS)}")
    require(
        len(clips) > 0,
        f"corpus {_name(config)} is empty: corpus.root ({getattr(config, 'root', '')}) lists no "
        "clip",
    )
    return sorted(clips, key=lambda clip: clip.clip_id)


def clips_to_make(config: object) -> Sequence[Clip]:
    """Return the clips that must be made before they can be read: of the synthetic corpus only."""
    return synthetic.missing(config) if isinstance(config, SyntheticConfig) else ()


class ClipMaker:
    """Makes the clips of a corpus that is made: the row of a clip in, its id out."""

    def __init__(self, corpus: object) -> None:
        self.corpus = corpus

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        problem = ""
        try:
            if isinstance(self.corpus, SyntheticConfig):
                synthetic.make_clip(self.corpus, from_row(row))
        except OSError as error:
            problem = f"{error.strerror or error} ({error.filename or self.corpus})"
        return {"clip_id": row["clip_id"], "problem": problem}


def _name(config: object) -> str:
    return str(getattr(config, "name", "?"))
