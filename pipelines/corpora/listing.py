"""Which corpora there are, and the clips of the one that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.corpora import (
    crema_d,
    csv_manifest,
    enterface05,
    ravdess,
    rml,
    savee,
    synthetic,
)
from pipelines.corpora.tree import CorpusListing
from pipelines.errors import UsageError, require
from pipelines.records import Clip, from_row


@dataclass(frozen=True)
class Making:
    """How the clips of a corpus are made that is not recorded."""

    missing: Callable[[Any], Sequence[Clip]]
    """Settings -> the clips that are not there yet."""
    make_clip: Callable[[Any, Clip], None]


@dataclass(frozen=True)
class Corpus:
    """One choice of `corpus=`."""

    settings: type
    read: Callable[[Any], CorpusListing]
    making: Making | None = None


CORPORA = {
    "crema_d": Corpus(crema_d.CremaDConfig, crema_d.read),
    "csv_manifest": Corpus(csv_manifest.CsvManifestConfig, csv_manifest.read),
    "enterface05": Corpus(enterface05.Enterface05Config, enterface05.read),
    "ravdess": Corpus(ravdess.RavdessConfig, ravdess.read),
    "rml": Corpus(rml.RmlConfig, rml.read),
    "savee": Corpus(savee.SaveeConfig, savee.read),
    "synthetic": Corpus(
        synthetic.SyntheticConfig,
        synthetic.read,
        Making(synthetic.missing, synthetic.make_clip),
    ),
}
"""Name in `corpus=NAME` -> the corpus."""

CORPUS_CONFIGS: dict[str, type] = {name: corpus.settings for name, corpus in CORPORA.items()}
"""Name in `corpus=NAME` -> its settings."""


def read_corpus(config: object) -> CorpusListing:
    """Return the clips of a corpus, and what is odd about it; nothing is decoded.

    Raises:
        UsageError: the corpus is not there, or holds no clip.
    """
    listing = _corpus_of(config).read(config)
    require(
        len(listing.clips) > 0,
        f"corpus {listing.name} is empty: corpus.root ({listing.root}) lists no clip",
    )
    return replace(listing, clips=tuple(sorted(listing.clips, key=lambda clip: clip.clip_id)))


def is_made(config: object) -> bool:
    """Whether the corpus is made here, so that it needs no folder of the user's."""
    return _corpus_of(config).making is not None


def clips_to_make(config: object) -> Sequence[Clip]:
    """Return the clips that must be made before they can be read: of a corpus that is made."""
    making = _corpus_of(config).making
    return making.missing(config) if making else ()


class ClipMaker:
    """Makes the clips of a corpus that is made: the row of a clip in, its id out."""

    def __init__(self, corpus: object) -> None:
        self.corpus = corpus

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        making = _corpus_of(self.corpus).making
        problem = ""
        try:
            if making:
                making.make_clip(self.corpus, from_row(row))
        except OSError as error:
            problem = f"{error.strerror or error} ({error.filename or row['path']})"
        return {"clip_id": row["clip_id"], "problem": problem}


def _corpus_of(config: object) -> Corpus:
    for corpus in CORPORA.values():
        if type(config) is corpus.settings:
            return corpus
    raise UsageError(f"corpus ({config!r}) is none of: {', '.join(CORPORA)}")
