"""How much of what is tested was said, word for word, in the training."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from harness.plan import Plan


def sentence_overlap(plan: Plan, sentences: Mapping[str, str | None]) -> float | None:
    """Return the share of test clips whose sentence a training clip says too, mean over splits.

    Args:
        plan: the splits.
        sentences: clip_id -> sentence; None where it is not known, and then the clip is left out.

    Returns:
        0 to 1; None where no split has a test clip with a known sentence.
    """
    shares = []
    for split in plan.splits:
        trained = {sentences.get(clip_id) for clip_id in split.train}
        tested = [said for c in split.test if (said := sentences.get(c)) is not None]
        if tested:
            shares.append(fmean(said in trained for said in tested))
    return fmean(shares) if shares else None
