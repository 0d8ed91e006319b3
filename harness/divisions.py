"""Which clips are tested together: each protocol's way to divide a corpus.

What is tested is settled here; who of the rest trains and by whom epochs are chosen, in splits.py.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.protocols import CROSS, LOSO, ProtocolConfig
from pipelines.errors import require
from pipelines.records import Clip
from pipelines.split_task import PARTS, Pieces, seed_for


@dataclass(frozen=True, kw_only=True)
class Division:
    """What one split tests."""

    split_id: str
    held_out: str
    test: frozenset[str]
    subjects: frozenset[str] = frozenset()
    """Those who are held out, where it is people that are."""
    left_out: frozenset[str] = frozenset()
    """Clips that are neither tested nor trained on."""
    repeat: int = 0
    pieces: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Clip -> its segments that are tested, where clips are divided."""
    segments: Mapping[str, int] = field(default_factory=dict)
    """Clip -> how many it has, where clips are divided."""

    @property
    def shared(self) -> frozenset[str]:
        """Clips that have segments on both sides."""
        return frozenset(c for c, tested in self.pieces.items() if len(tested) < self.segments[c])

    def pieces_of(self, parts: Mapping[str, Sequence[str]]) -> Pieces:
        """Return part -> clip -> its segments there."""
        found: dict[str, dict[str, tuple[int, ...]]] = {part: {} for part in PARTS}
        for part, clip_ids in parts.items():
            for clip_id in clip_ids:
                tested = self.pieces.get(clip_id, frozenset())
                every = range(self.segments[clip_id])
                found[part][clip_id] = tuple(i for i in every if (i in tested) == (part == "test"))
        return found


def check_divisible(clips: Sequence[Clip], protocol: ProtocolConfig) -> None:
    """Refuse a corpus that the protocol can't divide.

    Raises:
        UsageError: too few subjects, labels, sentences or clips, with what to do.
    """
    subjects = sorted({clip.subject for clip in clips})
    labels = sorted({clip.emotion for clip in clips})
    require(
        len(labels) >= 2,
        f"the corpus has a single label ({', '.join(labels)}): at least two are needed to tell "
        "them apart",
    )
    if protocol.plan is not None or protocol.kind == CROSS:
        return
    if protocol.kind == LOSO:
        require(
            len(subjects) >= 2,
            f"the corpus has one subject only ({', '.join(subjects)}): leave-one-subject-out needs "
            "at least two; use python -m harness.kfold protocol.unit=clip, or add subjects",
        )
        require(
            protocol.subjects_out < len(subjects),
            f"protocol.subjects_out ({protocol.subjects_out}) leaves nobody of the {len(subjects)} "
            "subjects to train on",
        )
        if protocol.sentence_disjoint:
            _check_sentences(clips, "protocol.sentence_disjoint", protocol.sentence_groups)
        return
    if protocol.unit == "sentence":
        _check_sentences(clips, "protocol.unit (sentence)", protocol.folds)
    units = len(subjects) if protocol.unit == "subject" else len(clips)
    require(
        protocol.unit in ("sentence", "segment") or protocol.folds <= units,
        f"protocol.folds ({protocol.folds}) is more than the {units} {protocol.unit}s there "
        "are: use fewer folds",
    )
    if protocol.unit != "segment":
        _check_folds(protocol.folds, [clip.emotion for clip in clips], "clips")


def _check_folds(folds: int, labels: Sequence[str], what: str) -> None:
    """Refuse more folds than any label has members: none could be in every fold."""
    most = max(Counter(labels).values())
    require(
        folds <= most,
        f"protocol.folds ({folds}) is more than the {most} {what} that the commonest label has: "
        "use fewer folds",
    )


def _check_sentences(clips: Sequence[Clip], setting: str, groups: int) -> None:
    without = [clip.clip_id for clip in clips if clip.sentence is None]
    require(
        not without,
        f"{setting} needs to know what is said, and the corpus has no sentence for "
        f"{len(without)} of {len(clips)} clips ({without[0] if without else ''} is one)",
    )
    sentences = {clip.sentence for clip in clips}
    require(
        groups <= len(sentences),
        f"{setting} asks for {groups} groups of sentences, and the corpus has {len(sentences)} "
        "sentences: use fewer",
    )


def divide(
    clips: Sequence[Clip],
    segments: Mapping[str, int],
    protocol: ProtocolConfig,
    seed: int,
    other_corpus: frozenset[str],
) -> list[Division]:
    """Return the divisions of clips that are in order, under one of the protocols.

    Raises:
        UsageError: the corpus can't be divided so.
    """
    check_divisible(clips, protocol)
    if protocol.kind == LOSO:
        divisions = _by_subject(clips, protocol.subjects_out)
        if protocol.sentence_disjoint:
            return _by_sentence_too(divisions, clips, protocol.sentence_groups)
        return divisions
    if protocol.kind == CROSS:
        return [Division(split_id="cross", held_out="the other corpus", test=other_corpus)]
    if protocol.unit == "segment":
        return _by_segment(clips, segments, protocol, seed)
    return _by_fold(clips, protocol, seed)


def _by_subject(clips: Sequence[Clip], together: int) -> list[Division]:
    subjects = sorted({clip.subject for clip in clips})
    names = _file_names(subjects)
    groups = [subjects[start : start + together] for start in range(0, len(subjects), together)]
    return [
        Division(
            split_id="loso-" + "+".join(names[subject] for subject in group),
            held_out=", ".join(group),
            test=frozenset(clip.clip_id for clip in clips if clip.subject in group),
            subjects=frozenset(group),
        )
        for group in groups
    ]


def _by_sentence_too(
    divisions: Sequence[Division], clips: Sequence[Clip], groups: int
) -> list[Division]:
    """Divide what each division tests by sentences, and keep these from its training as well."""
    group_of = sentence_groups(clips, groups)
    said = {clip.clip_id: group_of[clip.sentence or ""] for clip in clips}
    parted = []
    for division in divisions:
        for group in range(groups):
            tested = frozenset(c for c in division.test if said[c] == group)
            if not tested:
                continue
            elsewhere = {c for c, of_clip in said.items() if of_clip == group}
            parted.append(
                Division(
                    split_id=f"{division.split_id}-sentences{group + 1}",
                    held_out=f"{division.held_out}, sentences {group + 1} of {groups}",
                    test=tested,
                    subjects=division.subjects,
                    left_out=frozenset((elsewhere | division.test) - tested),
                )
            )
    return parted


def sentence_groups(clips: Sequence[Clip], groups: int) -> dict[str, int]:
    """Deal the sentences out to groups, so that each group shows every emotion that it can.

    A sentence belongs with those that are said with the same emotions: each such set is dealt out
    in turn. Where every emotion has sentences of its own (eNTERFACE'05), each group gets some of
    each; the order in a set is by a stable hash, which no name has chosen.
    """
    shown: defaultdict[str, set[str]] = defaultdict(set)
    for clip in clips:
        shown[clip.sentence or ""].add(clip.emotion)
    alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for sentence, emotions in shown.items():
        alike[tuple(sorted(emotions))].append(sentence)
    dealt: dict[str, int] = {}
    start = 0
    for of_set in sorted(alike):
        in_order = sorted(alike[of_set], key=lambda s: hashlib.sha256(s.encode()).hexdigest())
        for place, sentence in enumerate(in_order):
            dealt[sentence] = (start + place) % groups
        # Sets of one sentence each must not all begin with the same group.
        start += len(in_order) % groups
    return dealt


def _by_fold(clips: Sequence[Clip], protocol: ProtocolConfig, seed: int) -> list[Division]:
    # It takes most of a second to import, and every process that runs trials imports this module.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = [clip.emotion for clip in clips]
    groups = None
    if protocol.unit != "clip":
        groups = [c.sentence if protocol.unit == "sentence" else c.subject for c in clips]
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    divisions: list[Division] = []
    for repeat in range(protocol.repeats):
        drawn_by = _fold_seed(seed, repeat)
        folds = splitter(protocol.folds, shuffle=True, random_state=drawn_by)
        for number, (_, tested) in enumerate(folds.split(labels, labels, groups), start=1):
            name = _fold_name(number, repeat, protocol.repeats)
            test = frozenset(clips[index].clip_id for index in tested)
            divisions.append(Division(split_id=name, held_out=name, test=test, repeat=repeat))
    return divisions


def _by_segment(
    clips: Sequence[Clip], segments: Mapping[str, int], protocol: ProtocolConfig, seed: int
) -> list[Division]:
    """Deal single segments out to folds: what many have published, and what no one should."""
    from sklearn.model_selection import StratifiedKFold

    rows = [(clip, index) for clip in clips for index in range(segments[clip.clip_id])]
    require(
        protocol.folds <= len(rows),
        f"protocol.folds ({protocol.folds}) is more than the {len(rows)} segments there are: use "
        "fewer folds",
    )
    labels = [clip.emotion for clip, _ in rows]
    _check_folds(protocol.folds, labels, "segments")
    counts = {clip.clip_id: segments[clip.clip_id] for clip in clips}
    divisions: list[Division] = []
    for repeat in range(protocol.repeats):
        drawn_by = _fold_seed(seed, repeat)
        folds = StratifiedKFold(protocol.folds, shuffle=True, random_state=drawn_by)
        for number, (_, tested) in enumerate(folds.split(labels, labels), start=1):
            pieces: defaultdict[str, set[int]] = defaultdict(set)
            for row in tested:
                pieces[rows[row][0].clip_id].add(rows[row][1])
            name = _fold_name(number, repeat, protocol.repeats)
            divisions.append(
                Division(
                    split_id=name,
                    held_out=name,
                    test=frozenset(pieces),
                    repeat=repeat,
                    pieces={c: frozenset(of_clip) for c, of_clip in pieces.items()},
                    segments=counts,
                )
            )
    return divisions


def _fold_seed(seed: int, repeat: int) -> int:
    """Return what draws the folds: repeats of one seed are not the first drawings of the next."""
    return seed if repeat == 0 else seed_for(seed, "folds", str(repeat))


def _fold_name(number: int, repeat: int, repeats: int) -> str:
    return f"fold-{number:02d}" + (f"-repeat{repeat + 1}" if repeats > 1 else "")


def _file_names(subjects: Sequence[str]) -> dict[str, str]:
    """Return a name for each subject that can stand in a file's name, all different."""
    names: dict[str, str] = {}
    for subject in subjects:
        plain = re.sub(r"[^\w.-]+", "_", subject)
        if plain != subject or plain.startswith("."):
            plain += "-" + hashlib.sha256(subject.encode()).hexdigest()[:6]
        names[subject] = plain
    return names
