"""The proof, in every study, that test clips met nothing that was fitted, chosen or stopped by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise

from harness.plan import SEGMENT, Plan, Split
from harness.protocols import ProtocolConfig
from harness.same_sound import SameSound
from pipelines.errors import UsageError
from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES, TEST_PHASE
from pipelines.split_task import CLASSIFIER, PARTS, STANDARDISER


class LeakError(UsageError):
    """A test clip, or its subject, is known to the training: the study must not go on."""


def check_plan(
    plan: Plan,
    protocol: ProtocolConfig,
    subjects: Mapping[str, str],
    contents: Mapping[str, str],
    same_sounds: Sequence[SameSound] = (),
) -> None:
    """Check, before training, what each split would let the training see.

    Args:
        plan: the splits.
        protocol: decides whether subjects must be apart.
        subjects: clip_id -> subject.
        contents: clip_id -> sha256 of the file.
        same_sounds: pairs of clips that hold one recording in different files.

    Raises:
        LeakError: a clip, a recording, or (where the protocol keeps them apart) a subject stands
            on both sides, or a recording is there under two subjects; the first one is named.
    """
    by_subject = protocol.keeps_subjects_apart
    in_plan = {
        clip_id for split in plan.splits for part in _parts(split).values() for clip_id in part
    }
    for split in plan.splits:
        parts = _parts(split)
        pieces = dict(zip(parts, map(split.pieces_in, PARTS), strict=True))
        for (one, left), (other, right) in combinations(parts.items(), 2):
            if plan.unit == SEGMENT:
                _refuse(split, one, other, "segment", pieces[one] & pieces[other])
            else:
                _refuse(split, one, other, "clip", set(left) & set(right))
            # Inner validation is by subject whatever the protocol.
            if by_subject or (one, other) == ("training", "validation"):
                shared = {subjects[c] for c in left} & {subjects[c] for c in right}
                _refuse(split, one, other, "subject", shared)
        if plan.unit != SEGMENT:
            # Of the split's own clips: a plan may leave some out, and a copy among them.
            own = {clip_id for part in _parts(split).values() for clip_id in part}
            _refuse_copies(split, _copies(own, contents, same_sounds))
        if not split.test or not split.train:
            empty = "test" if not split.test else "training"
            raise LeakError(f"split {split.split_id} has no {empty} clip: use fewer folds")
    if by_subject:
        _refuse_two_subjects(_copies(in_plan, contents, same_sounds), subjects)


def check_reads(
    split: Split, reads: Mapping[str, Iterable[str]], *, two_stages: bool | None = None
) -> None:
    """Check, after training, that each phase of a split read its own clips: all, and no other.

    Args:
        split: what was planned.
        reads: phase -> the clips that it read, of the ledger.
        two_stages: whether the split has a second stage; None: it did not come to its end, and
            what it has not read is not asked for.

    Raises:
        LeakError: a phase that fits or chooses read a test clip, or a clip that was not its own;
            or the ledger does not say what a phase read.
    """
    allowed = allowed_reads(split.train, split.validation, split.test)
    if two_stages is False:
        for phase in (FIT_PHASES[1], CHOOSE_PHASES[1]):
            del allowed[phase]
    for phase, clip_ids in reads.items():
        if phase not in allowed:
            raise LeakError(f"split {split.split_id}: unknown phase {phase} read clips")
        stray = set(clip_ids) - allowed[phase]
        if stray:
            raise LeakError(
                f"split {split.split_id}: phase {phase} read {min(stray)}, which is not among its "
                f"clips ({len(stray)} such in all)"
            )
    for phase, own in allowed.items() if two_stages is not None else ():
        unread = own - set(reads.get(phase, ()))
        if unread:
            raise LeakError(
                f"split {split.split_id}: the ledger does not say that phase {phase} read "
                f"{min(unread)} ({len(unread)} of its {len(own)} clips are missing), so nobody "
                f"knows what it did read: remove splits/{split.split_id}.json from the study's "
                "folder and run again"
            )


def check_fitted(
    split: Split,
    fitted: Mapping[str, Iterable[str]],
    *,
    standardised: bool = False,
    rival: bool = False,
) -> None:
    """Check, after training, which clips each fitted object (a normaliser) carries.

    Args:
        split: what was planned.
        fitted: object -> the clips that it was fitted on, of the ledger.
        standardised: whether the split has come to its end with a standardiser.
        rival: and whether with the classifier of a rival.

    Raises:
        LeakError: one was fitted on a clip that the split does not train on, or on none; or the
            ledger does not say what the standardiser or the classifier was fitted on.
    """
    for what, needed in ((STANDARDISER, standardised), (CLASSIFIER, rival)):
        if needed and what not in fitted:
            raise LeakError(
                f"split {split.split_id}: the ledger does not say what the {what} was fitted on, "
                f"so nobody knows: remove splits/{split.split_id}.json from the study's folder and "
                "run again"
            )
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


def _parts(split: Split) -> dict[str, tuple[str, ...]]:
    return {"training": split.train, "validation": split.validation, "test": split.test}


def _refuse(split: Split, one: str, other: str, what: str, shared: set[str]) -> None:
    if shared:
        raise LeakError(
            f"split {split.split_id}: {what} {min(shared)} is in both {one} and {other} "
            f"({len(shared)} such in all)"
        )


_Copy = tuple[str, str, str]
"""Two clips, and what tells that they are one recording."""


def _copies(
    clip_ids: Collection[str], contents: Mapping[str, str], same_sounds: Sequence[SameSound]
) -> list[_Copy]:
    return [*_same_files(clip_ids, contents), *_same_recordings(clip_ids, same_sounds)]


def _same_files(clip_ids: Collection[str], contents: Mapping[str, str]) -> Iterator[_Copy]:
    """Give each file's next copy by name: however all of them are divided, a pair of these is."""
    by_content: dict[str, list[str]] = {}
    for clip_id in sorted(clip_ids):
        by_content.setdefault(contents[clip_id], []).append(clip_id)
    for same in by_content.values():
        for one, other in pairwise(same):
            yield one, other, "the same recording under two names"


def _same_recordings(
    clip_ids: Collection[str], same_sounds: Sequence[SameSound]
) -> Iterator[_Copy]:
    for pair in same_sounds:
        if pair.clip_id in clip_ids and pair.other in clip_ids:
            told = f"the same recording in two files ({pair.seconds:.1f} s of one sound)"
            yield pair.clip_id, pair.other, told


def _refuse_copies(split: Split, copies: Sequence[_Copy]) -> None:
    part_of = {clip_id: part for part, clip_ids in _parts(split).items() for clip_id in clip_ids}
    order = list(_parts(split))
    for *pair, told in copies:
        if all(clip_id in part_of for clip_id in pair):
            first, second = sorted(pair, key=lambda clip_id: order.index(part_of[clip_id]))
            if part_of[first] != part_of[second]:
                raise LeakError(
                    f"split {split.split_id}: {first} in {part_of[first]} and {second} in "
                    f"{part_of[second]} are {told}: keep one of them"
                )


def _refuse_two_subjects(copies: Sequence[_Copy], subjects: Mapping[str, str]) -> None:
    for one, other, told in copies:
        if subjects[one] != subjects[other]:
            raise LeakError(
                f"{one} (subject {subjects[one]}) and {other} (subject {subjects[other]}) are "
                f"{told}: keep one of them, or correct its subject"
            )
