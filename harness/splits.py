"""Who is tested and who trains: the splits of a study."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.errors import require, require_one_of
from pipelines.records import Clip, ClipOutcome
from pipelines.split_task import seed_for
from pipelines.storage import write_json

LOSO, KFOLD = "loso", "kfold"


@dataclass
class ProtocolConfig:
    """How a corpus is divided."""

    kind: str = LOSO
    """`loso`: each subject is tested once, by a model that never saw them; `kfold`."""
    folds: int = 10
    """Number of folds of K-fold."""
    unit: str = "clip"
    """What K-fold keeps together: `clip` (subject-dependent) or `subject`."""

    def __post_init__(self) -> None:
        require_one_of("protocol.kind", self.kind, (LOSO, KFOLD))
        require(self.folds >= 2, f"protocol.folds ({self.folds}) must be at least 2")
        require_one_of("protocol.unit", self.unit, ("clip", "subject"))

    @property
    def label(self) -> str:
        """How numbers under this protocol are introduced."""
        if self.kind == LOSO:
            return "LOSO"
        return f"{self.folds}-fold by {self.unit}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must stand wherever these numbers appear."""
        if self.kind == KFOLD and self.unit == "clip":
            return ("subject-dependent: the people tested were also trained on",)
        return ()


@dataclass(frozen=True, kw_only=True)
class Split:
    """One division into training, inner validation and test clips."""

    split_id: str
    held_out: str
    repeat: int
    seed: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All splits of a study."""

    unit: str
    splits: tuple[Split, ...]

    def write(self, path: Path) -> None:
        """Write plan.json."""
        write_json(path, {"unit": self.unit, "splits": [asdict(split) for split in self.splits]})


def check_divisible(
    clips: Sequence[Clip] | Sequence[ClipOutcome], protocol: ProtocolConfig
) -> None:
    """Refuse a corpus that the protocol can't divide.

    Raises:
        UsageError: too few subjects, labels or clips, with what to do.
    """
    subjects = sorted({clip.subject for clip in clips})
    labels = sorted({clip.emotion for clip in clips})
    require(
        len(labels) >= 2,
        f"the corpus has a single label ({', '.join(labels)}): at least two are needed to tell "
        "them apart",
    )
    if protocol.kind == LOSO:
        require(
            len(subjects) >= 2,
            f"the corpus has one subject only ({', '.join(subjects)}): leave-one-subject-out needs "
            "at least two; use python -m harness.kfold protocol.unit=clip, or add subjects",
        )
    else:
        units = len(subjects) if protocol.unit == "subject" else len(clips)
        require(
            protocol.folds <= units,
            f"protocol.folds ({protocol.folds}) is more than the {units} {protocol.unit}s there "
            "are: use fewer folds",
        )


def plan_splits(clips: Sequence[ClipOutcome], protocol: ProtocolConfig, seed: int) -> Plan:
    """Divide the usable clips; the same clips, protocol and seed give the same plan, always."""
    check_divisible(clips, protocol)
    ordered = sorted(clips, key=lambda clip: clip.clip_id)
    divisions = _by_subject(ordered) if protocol.kind == LOSO else _by_fold(ordered, protocol, seed)
    ring = _subject_ring(ordered)
    splits = []
    for number, (split_id, held_out, tested) in enumerate(divisions):
        rest = [clip for clip in ordered if clip.clip_id not in tested]
        validator = _validation_subject(ring, held_out, number, rest)
        splits.append(
            Split(
                split_id=split_id,
                held_out=held_out,
                repeat=0,
                seed=seed_for(seed, split_id, "0"),
                train=tuple(clip.clip_id for clip in rest if clip.subject != validator),
                validation=tuple(clip.clip_id for clip in rest if clip.subject == validator),
                test=tuple(clip.clip_id for clip in ordered if clip.clip_id in tested),
            )
        )
    return Plan(unit="clip", splits=tuple(splits))


_Division = tuple[str, str, set[str]]
"""split_id, what is held out, ids of the test clips."""


def _by_subject(clips: Sequence[ClipOutcome]) -> list[_Division]:
    subjects = sorted({clip.subject for clip in clips})
    names = _file_names(subjects)
    return [
        (f"loso-{names[subject]}", subject, {c.clip_id for c in clips if c.subject == subject})
        for subject in subjects
    ]


def _by_fold(clips: Sequence[ClipOutcome], protocol: ProtocolConfig, seed: int) -> list[_Division]:
    # It takes most of a second to import, and every process that runs trials imports this module.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = [clip.emotion for clip in clips]
    subjects = [clip.subject for clip in clips]
    splitter = StratifiedKFold if protocol.unit == "clip" else StratifiedGroupKFold
    folds = splitter(protocol.folds, shuffle=True, random_state=seed)
    parts: list[_Division] = []
    for number, (_, tested) in enumerate(folds.split(labels, labels, subjects), start=1):
        name = f"fold-{number:02d}"
        parts.append((name, name, {clips[index].clip_id for index in tested}))
    return parts


def _subject_ring(clips: Sequence[ClipOutcome]) -> list[str]:
    """Return the subjects in an order by a stable hash, which no name or number has chosen."""
    return sorted(
        {clip.subject for clip in clips},
        key=lambda subject: hashlib.sha256(subject.encode()).hexdigest(),
    )


def _validation_subject(
    ring: Sequence[str], held_out: str, number: int, rest: Sequence[ClipOutcome]
) -> str | None:
    """Return the inner held-out subject: the next on the ring, so that it rotates over splits.

    Somebody who alone shows a class is passed over: the training needs them more.
    """
    available = {clip.subject for clip in rest}
    if len(available) < 2:
        return None  # nobody would be left to train on
    shown_by = {
        label: {clip.subject for clip in rest if clip.emotion == label}
        for label in {clip.emotion for clip in rest}
    }
    alone = {next(iter(people)) for people in shown_by.values() if len(people) == 1}
    start = ring.index(held_out) + 1 if held_out in ring else number
    turned = [ring[(start + step) % len(ring)] for step in range(len(ring))]
    candidates = [subject for subject in turned if subject in available]
    return next((subject for subject in candidates if subject not in alone), candidates[0])


def _file_names(subjects: Sequence[str]) -> dict[str, str]:
    """Return a name for each subject that can stand in a file's name, all different."""
    names: dict[str, str] = {}
    for subject in subjects:
        plain = re.sub(r"[^\w.-]+", "_", subject)
        if plain != subject or plain.startswith("."):
            plain += "-" + hashlib.sha256(subject.encode()).hexdigest()[:6]
        names[subject] = plain
    return names
