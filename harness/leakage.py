"""The proof, in every study, that test clips met nothing that was fitted, chosen or stopped by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from harness.protocols import ProtocolConfig
from harness.splits import SEGMENT, Plan, Split
from pipelines.errors import UsageError
from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES, TEST_PHASE
from pipelines.split_task import PARTS


class LeakError(UsageError):
    """A test clip, or its subject, is known to the training: the study must not go on."""


def check_plan(
    plan: Plan,
    protocol: ProtocolConfig,
    subjects: Mapping[str, str],
    contents: Mapping[str, str],
) -> None:
    """Check, before training, what each split would let the training see.

    Args:
        plan: the splits.
        protocol: decides whether subjects must be apart.
        subjects: clip_id -> subject.
        contents: clip_id -> sha256 of the file.

    Raises:
        LeakError: a clip, the content of a clip, or (where the protocol keeps them apart) a
            subject stands on both sides; the first one is named.
    """
    by_subject = protocol.keeps_subjects_apart
    for split in plan.splits:
        parts = {"training": split.train, "validation": split.validation, "test": split.test}
        pieces = dict(zip(parts, map(split.pieces_in, PARTS), strict=True))
        for (one, left), (other, right) in combinations(parts.items(), 2):
            if plan.unit == SEGMENT:
                _refuse(split, one, other, "segment", pieces[one] & pieces[other])
            else:
                _refuse(split, one, other, "clip", set(left) & set(right))
                _refuse_copies(split, one, other, _by(left, contents), _by(right, contents))
            # Inner validation is by subject whatever the protocol.
            if by_subject or (one, other) == ("training", "validation"):
                shared = {subjects[c] for c in left} & {subjects[c] for c in right}
                _refuse(split, one, other, "subject", shared)
        if not split.test or not split.train:
            empty = "test" if not split.test else "training"
            raise LeakError(f"split {split.split_id} has no {empty} clip: use fewer folds")


def check_reads(split: Split, reads: Mapping[str, Iterable[str]]) -> None:
    """Check, after training, what each phase of a split did read.

    Raises:
        LeakError: a phase that fits or chooses read a test clip, or a clip that was not its own.
    """
    allowed = allowed_reads(split.train, split.validation, split.test)
    for phase, clip_ids in reads.items():
        if phase not in allowed:
            raise LeakError(f"split {split.split_id}: unknown phase {phase} read clips")
        stray = set(clip_ids) - allowed[phase]
        if stray:
            raise LeakError(
                f"split {split.split_id}: phase {phase} read {min(stray)}, which is not among its "
                f"clips ({len(stray)} such in all)"
            )


def check_fitted(split: Split, fitted: Mapping[str, Iterable[str]]) -> None:
    """Check, after training, which clips each fitted object (a normaliser) carries.

    Raises:
        LeakError: one was fitted on a clip that the split does not train on, or on none.
    """
    for what, clip_ids in fitted.items():
        seen = set(clip_ids)
        stray = seen - set(split.train)
        if stray or not seen:
            was = f"{min(stray)} ({len(stray)} such in all)" if stray else "no clip at all"
            raise LeakError(
                f"split {split.split_id}: the {what} was fitted on {was}, not on its training clips"
            )


def allowed_reads(
    train: Iterable[str], validation: Iterable[str], test: Iterable[str]
) -> dict[str, frozenset[str]]:
    """Return which clips each phase of a split's training may read."""
    return {
        **dict.fromkeys(FIT_PHASES, frozenset(train)),
        **dict.fromkeys(CHOOSE_PHASES, frozenset(validation)),
        TEST_PHASE: frozenset(test),
    }


def _by(clip_ids: Iterable[str], contents: Mapping[str, str]) -> dict[str, str]:
    return {contents[clip_id]: clip_id for clip_id in clip_ids}


def _refuse(split: Split, one: str, other: str, what: str, shared: set[str]) -> None:
    if shared:
        raise LeakError(
            f"split {split.split_id}: {what} {min(shared)} is in both {one} and {other} "
            f"({len(shared)} such in all)"
        )


def _refuse_copies(
    split: Split, one: str, other: str, left: Mapping[str, str], right: Mapping[str, str]
) -> None:
    for content in sorted(set(left) & set(right)):
        raise LeakError(
            f"split {split.split_id}: {left[content]} in {one} and {right[content]} in {other} are "
            "the same recording under two names: keep one of them"
        )
