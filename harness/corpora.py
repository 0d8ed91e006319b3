"""What a study is made on: one corpus, or one to train on and another to test on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.config import StudyConfig
from harness.protocols import CROSS
from pipelines.corpus_plan import CorpusPlan
from pipelines.errors import require
from pipelines.preprocess import prepare
from pipelines.progress import Reporter
from pipelines.records import Clip
from pipelines.session import Place
from pipelines.shards import ShardFolder, ShardSet
from pipelines.storage import digest_of, location_of


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """The clips of a study, preprocessed."""

    corpus: str
    """How it is named beside the figures."""
    shards: ShardSet
    clips: Mapping[str, Clip]
    """All clips by id, usable or not."""
    other_corpus: frozenset[str] = frozenset()
    """Those that a model of the other corpus is tested on."""
    datasets: tuple[Mapping[str, str], ...] = ()
    """The corpora as {name, digest, source}."""
    warnings: tuple[str, ...] = field(default=())

    @property
    def usable(self) -> list[Clip]:
        """The clips that have segments."""
        return [self.clips[outcome.clip_id] for outcome in self.shards.usable]

    @property
    def segments(self) -> dict[str, int]:
        """Usable clip -> its number of segments."""
        return {outcome.clip_id: outcome.segments for outcome in self.shards.usable}

    @property
    def lost(self) -> list[str]:
        """Clips that were to be tested and can't be used."""
        lost = [outcome.clip_id for outcome in self.shards.outcomes if outcome.status != "ok"]
        return [c for c in lost if not self.other_corpus or c in self.other_corpus]


class StudyCorpora:
    """The corpora of a study before any work is done: known without Ray."""

    def __init__(self, config: StudyConfig) -> None:
        """List the clips.

        Raises:
            UsageError: a corpus is not there, or the two share no label.
        """
        self.plan = CorpusPlan(config)
        self.other: CorpusPlan | None = None
        self.labels: dict[str, str] = {}
        if config.protocol.kind != CROSS:
            require(
                config.test_corpus is None,
                "test_corpus is what a model of another corpus is tested on: use python -m "
                "harness.cross",
            )
            return
        require(
            config.test_corpus is not None,
            "harness.cross trains on corpus and tests on another: name it, as in "
            "test_corpus=enterface05 test_corpus.root=/data/eNTERFACE05",
        )
        self.other = CorpusPlan(replace(config, corpus=config.test_corpus))
        self.labels = _label_map(self.plan.clips, self.other.clips, config.protocol.labels)

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips that are divided, before anything is known of their files."""
        return self.plan.clips

    def require_ready(self) -> None:
        """See that work can begin; raises UsageError naming the setting where it can't."""
        for plan in filter(None, (self.plan, self.other)):
            plan.require_ready()

    def prepare(self, place: Place, reporter: Reporter) -> StudyData:
        """Preprocess what is not done yet."""
        shards = prepare(self.plan, place, reporter)
        if self.other is None:
            return StudyData(
                corpus=self.plan.listing.name,
                shards=shards,
                clips={clip.clip_id: clip for clip in self.plan.clips},
                datasets=(_dataset(self.plan, shards),),
            )
        return _joined(self.plan, shards, self.other, prepare(self.other, place, reporter), self)


def _label_map(
    learned: tuple[Clip, ...], tested: tuple[Clip, ...], given: Mapping[str, str]
) -> dict[str, str]:
    """Return label of the test corpus -> label of the training corpus, for those that have one."""
    known = sorted({clip.emotion for clip in learned})
    to_map = sorted({clip.emotion for clip in tested})
    for label, target in given.items():
        require(
            label in to_map,
            f"protocol.labels: {label} is no label of the test corpus ({', '.join(to_map)})",
        )
        require(
            target in known,
            f"protocol.labels: {target} is no label of the training corpus ({', '.join(known)})",
        )
    labels = {
        label: given.get(label, label) for label in to_map if given.get(label, label) in known
    }
    require(
        bool(labels),
        f"the corpora share no label ({', '.join(known)} against {', '.join(to_map)}): say which "
        f"belong together, as in 'protocol.labels={{{to_map[0]}: {known[0]}}}'",
    )
    return labels


def _dataset(plan: CorpusPlan, shards: ShardSet) -> dict[str, str]:
    return {
        "name": plan.listing.name,
        "digest": shards.digest,
        "source": str(plan.config.corpus.root),
    }


def _joined(
    plan: CorpusPlan, shards: ShardSet, other: CorpusPlan, tested: ShardSet, told: StudyCorpora
) -> StudyData:
    """Put two corpora beside each other, their clips and people under the corpus' name."""
    name, other_name = plan.listing.name, other.listing.name
    if other_name == name:
        name, other_name = f"{name}-train", f"{name}-test"
    root = location_of(plan.config.paths.data) / "shards"
    digest = digest_of(["joint", shards.digest, tested.digest])
    folder = ShardFolder(root / digest)
    keys: dict[str, str] = {}
    contents: dict[str, str] = {}
    clips: dict[str, Clip] = {}
    outcomes = []
    other_ids = set()
    for corpus, each, source in ((name, shards, plan), (other_name, tested, other)):
        by_id = {clip.clip_id: clip for clip in source.clips}
        is_other = source is other
        for outcome in each.outcomes:
            label = told.labels.get(outcome.emotion) if is_other else outcome.emotion
            if label is None:
                continue
            clip_id = f"{corpus}/{outcome.clip_id}"
            subject = f"{corpus}/{outcome.subject}"
            clip = by_id[outcome.clip_id]
            # Sentences are numbered anew in every corpus.
            said = None if clip.sentence is None else f"{corpus}/{clip.sentence}"
            clips[clip_id] = replace(
                clip,
                clip_id=clip_id,
                subject=subject,
                emotion=label,
                sentence=said,
                corpus=corpus,
            )
            outcomes.append(replace(outcome, clip_id=clip_id, subject=subject, emotion=label))
            keys[clip_id] = each.keys[outcome.clip_id]
            contents[clip_id] = each.contents[outcome.clip_id]
            if is_other:
                other_ids.add(clip_id)
        wanted = set(each.keys.values())
        folder.take_over(wanted - set(folder.outcomes(wanted)), each.folder)
    left_out = sorted({clip.emotion for clip in other.clips} - set(told.labels))
    count = sum(clip.emotion in left_out for clip in other.clips)
    joint = ShardSet(
        folder=folder,
        digest=digest,
        keys=keys,
        contents=contents,
        outcomes=tuple(sorted(outcomes, key=lambda outcome: outcome.clip_id)),
    )
    return StudyData(
        corpus=f"{name}, tested on {other_name}",
        shards=joint,
        clips=clips,
        other_corpus=frozenset(other_ids),
        datasets=(_dataset(plan, shards), _dataset(other, tested)),
        warnings=(
            f"{count} clips of {other_name} show what {name} does not teach "
            f"({', '.join(left_out)}): they are not tested",
        )
        if left_out
        else (),
    )
