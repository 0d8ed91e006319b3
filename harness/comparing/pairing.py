"""Which clips studies have in common, and the refusal of those that can't be paired."""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparing.run_results import RunResults, few
from pipelines.errors import UsageError, require


def shared_clips(
    runs: Sequence[RunResults], *, common: bool
) -> tuple[list[str], dict[str, list[str]]]:
    """Return the clips of all runs, and for each run those of its clips that are left out.

    Raises:
        UsageError: the runs' clips differ and `common` is not set, none is common, or a clip is
            another recording, or has another subject or true label, in another run.
    """
    first, *later = runs
    shared = set(first.clips).intersection(*(run.clips for run in later))
    left_out = {run.name: sorted(run.clips.keys() - shared) for run in runs}
    left_out = {name: clip_ids for name, clip_ids in left_out.items() if clip_ids}
    require(bool(shared), "the runs have no test clip in common: they are of other corpora")
    if not common and left_out:
        told = "; ".join(f"not all tested {few(ids)} of {name}" for name, ids in left_out.items())
        raise UsageError(
            f"the runs' test clips differ: {told}. To compare on the clips that all of them "
            "tested, add --common"
        )
    for run in later:
        both = [c for c in sorted(shared) if c in first.contents and c in run.contents]
        others = [c for c in both if first.contents[c] != run.contents[c]]
        require(
            not others,
            f"{few(others) if others else ''} of the same name is another recording in "
            f"{first.name} than in {run.name}: they are of other corpora, or their files changed",
        )
        for name, what in (("subject", "subject"), ("emotion", "true label")):
            pairs = {c: [getattr(r.clips[c], name) for r in (first, run)] for c in sorted(shared)}
            differ = [clip_id for clip_id, (one, other) in pairs.items() if one != other]
            if differ:
                one, other = pairs[differ[0]]
                raise UsageError(
                    f"the {what} of {few(differ)} differs: {differ[0]} has {one} in {first.name} "
                    f"and {other} in {run.name}"
                )
    return sorted(shared), left_out
