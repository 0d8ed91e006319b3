"""The proof, in every search, that it never saw what its outer split tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.leakage import LeakError, check_fitted, check_plan, check_reads
from harness.ledger import DONE, Entry
from harness.plan import Plan, Split
from harness.protocols import ProtocolConfig
from harness.same_sound import SameSound
from pipelines.training import FUSION


def check_inner_plan(
    outer: Split,
    inner: Plan,
    subjects: Mapping[str, str],
    contents: Mapping[str, str],
    same_sounds: Sequence[SameSound] = (),
    *,
    apart: bool,
) -> None:
    """Check, before a search, whom its inner splits hold.

    Args:
        outer: the split that will be tested with what the search finds.
        inner: divides its development clips.
        subjects: clip_id -> subject.
        contents: clip_id -> sha256 of the file.
        same_sounds: pairs of clips that hold one recording in different files.
        apart: whether the outer protocol keeps those tested and those trained on apart.

    Raises:
        LeakError: an inner split holds a clip that its outer split does not develop on, a subject
            that it tests, or a subject on two of its own sides.
    """
    tested = {subjects[clip_id] for clip_id in outer.test} if apart else set()
    for split in inner.splits:
        clip_ids = {*split.development, *split.test}
        where = f"search of {outer.split_id}: {split.split_id}"
        _refuse(where, "clip", clip_ids & set(outer.test), "is tested by the outer split")
        stray = clip_ids - set(outer.development)
        _refuse(where, "clip", stray, "is not among those that the outer split develops on")
        people = {subjects[clip_id] for clip_id in clip_ids}
        _refuse(where, "subject", people & tested, "is tested by the outer split")
    # By subject, whatever the outer protocol.
    check_plan(inner, ProtocolConfig(), subjects, contents, same_sounds)


def check_inner_reads(outer: Split, inner: Split, entry: Entry) -> None:
    """Check, after a trial, what it did read and what it was fitted on.

    Raises:
        LeakError: it read a clip that its outer split does not develop on, or one that was not
            for that phase.
    """
    where = f"search of {outer.split_id}: {entry.split_id}"
    for source in (entry.reads, entry.fitted):
        for phase, clip_ids in source.items():
            stray = set(clip_ids) - set(outer.development)
            _refuse(where, f"{phase}: clip", stray, "is not of its outer split's development")
    # A trial that was given up has not read everything.
    two_stages = FUSION in entry.parameters if entry.status == DONE else None
    check_reads(inner, entry.reads, two_stages=two_stages)
    check_fitted(inner, entry.fitted)


def _refuse(where: str, what: str, shared: set[str], why: str) -> None:
    if shared:
        raise LeakError(f"{where}: {what} {min(shared)} {why} ({len(shared)} such in all)")
