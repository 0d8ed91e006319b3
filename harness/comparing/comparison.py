"""Studies on the same clips: how much they differ, and how surely."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.comparing.pairing import shared_clips
from harness.comparing.run_results import RunResults, few
from harness.figures import FEW, ends
from harness.metrics import accuracy, unweighted_average_recall
from harness.significance import Test, holm, mcnemar, paired_permutation
from harness.statistics import paired_bootstrap, paired_t_interval, t_interval
from pipelines.split_task import seed_for


class _Subjects:
    """How much of each subject's clips one run recognised; in the order of their names."""

    def __init__(self, run: RunResults, clip_ids: Sequence[str]) -> None:
        held: defaultdict[str, list[float]] = defaultdict(list)
        for clip_id in clip_ids:
            held[run.clips[clip_id].subject].append(run.clips[clip_id].right)
        self.names = sorted(held)
        self.clips = [len(held[name]) for name in self.names]
        self.right = [sum(held[name]) for name in self.names]
        self.shares = [sum(held[name]) / len(held[name]) for name in self.names]


def compare(runs: Sequence[RunResults], *, common: bool = False) -> dict[str, Any]:
    """Compare each later run with the first, clip by clip.

    The family of Holm's correction is what the caller named: all later runs.

    Args:
        runs: at least two.
        common: leave out clips that some run did not test, rather than refuse.

    Raises:
        UsageError: the runs are not of the same clips, subjects and true labels.
    """
    clip_ids, left_out = shared_clips(runs, common=common)
    first, *later = runs
    comparisons = [_pair(first, run, clip_ids) for run in later]
    for kind in ("permutation", "mcnemar"):
        # One that could not be made stays in the family, as the weakest of them.
        p = [1.0 if one[kind] is None else one[kind]["p"] for one in comparisons]
        for one, adjusted in zip(comparisons, holm(p), strict=True):
            if one[kind] is not None:
                one[kind]["p_holm"] = adjusted
    return {
        "clips": len(clip_ids),
        "subjects": len({first.clips[clip_id].subject for clip_id in clip_ids}),
        "left_out": left_out,
        "runs": [describe(run, clip_ids) for run in runs],
        "warnings": _warnings(runs, left_out),
        "family": [run.name for run in later],
        "comparisons": comparisons,
    }


def describe(run: RunResults, clip_ids: Sequence[str]) -> dict[str, Any]:
    """Return what a run is, and its figures on the clips that are compared."""
    summary = run.summary
    subjects = _Subjects(run, clip_ids)
    mean = t_interval(subjects.shares)
    labels = run.labels(clip_ids)
    return {
        "run": run.name,
        "system": summary.get("system", "harness"),
        "protocol": summary.get("protocol", "not said"),
        "protocol_warnings": run.protocol_warnings,
        "corpus": summary.get("corpus", "not said"),
        "splits_done": summary.get("splits_done"),
        "splits_expected": summary.get("splits_expected"),
        "clips": len(clip_ids),
        "subjects": len(subjects.names),
        "clip_accuracy": accuracy(*labels),
        "uar": unweighted_average_recall(*labels),
        "clip_accuracy_subject_mean": mean.mean,
        **ends(mean),
    }


def _pair(first: RunResults, later: RunResults, clip_ids: Sequence[str]) -> dict[str, Any]:
    a, b = _Subjects(first, clip_ids), _Subjects(later, clip_ids)
    # From the people, so that the folders' names and their order change no digit.
    seed = seed_for(0, "comparison", *a.names)
    mean = paired_t_interval(a.shares, b.shares)
    over = f"nominal 95 % over {len(a.names)} subjects"
    if len(a.names) < 2:
        over = "one subject gives no interval"
    elif mean.low == mean.high:
        over += ", all alike: it has no width and says nothing"
    pooled = paired_bootstrap(a.right, b.right, a.clips, seed=seed)
    return {
        "run": later.name,
        "against": first.name,
        "difference_subject_mean": {
            "value": mean.mean,
            "method": "t interval",
            "label": over,
            **ends(mean),
        },
        "difference_pooled": {
            "value": pooled.mean,
            "method": "cluster bootstrap",
            "label": over + (", too narrow with so few" if 1 < len(a.names) < FEW else ""),
            **ends(pooled),
        },
        "permutation": _told(paired_permutation(a.shares, b.shares, seed=seed), ""),
        **_mcnemar(first, later, clip_ids),
        "per_subject": [
            {"subject": name, "clips": clips, "first": one, "later": two, "difference": two - one}
            for name, clips, one, two in zip(a.names, a.clips, a.shares, b.shares, strict=True)
        ],
        "per_emotion": _per_emotion(first, later, clip_ids),
        **_changes(first, later, clip_ids),
    }


def _mcnemar(first: RunResults, later: RunResults, clip_ids: Sequence[str]) -> dict[str, Any]:
    several = [
        run.name for run in (first, later) if any(len(run.clips[c].predicted) > 1 for c in clip_ids)
    ]
    if several:
        return {
            "mcnemar": None,
            "mcnemar_left_out": f"{' and '.join(several)} predicted clips several times: a clip is "
            "then neither right nor wrong",
        }
    a, b = ([run.clips[c].right == 1.0 for c in clip_ids] for run in (first, later))
    return {"mcnemar": _told(mcnemar(a, b), "ignores clustering")}


def _per_emotion(
    first: RunResults, later: RunResults, clip_ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Return recall of each emotion in both runs; the interval is a cluster
    bootstrap over those who showed it."""
    rows = []
    for emotion in sorted({first.clips[c].emotion for c in clip_ids}):
        own = [c for c in clip_ids if first.clips[c].emotion == emotion]
        a, b = _Subjects(first, own), _Subjects(later, own)
        seed = seed_for(0, "comparison", emotion, *a.names)
        recalls = [sum(of.right) / len(own) for of in (a, b)]
        rows.append(
            {
                "emotion": emotion,
                "clips": len(own),
                "subjects": len(a.names),
                "first": recalls[0],
                "later": recalls[1],
                "difference": recalls[1] - recalls[0],
                # Of the pooled recall, which stands beside it: some show an emotion oftener.
                **ends(paired_bootstrap(a.right, b.right, a.clips, seed=seed)),
            }
        )
    return rows


def _changes(first: RunResults, later: RunResults, clip_ids: Sequence[str]) -> dict[str, Any]:
    """Return the clips that one run recognised oftener than the other."""
    found: dict[str, list[dict[str, Any]]] = {"wrong_to_right": [], "right_to_wrong": []}
    for clip_id in clip_ids:
        a, b = first.clips[clip_id], later.clips[clip_id]
        if a.right == b.right:
            continue
        found["wrong_to_right" if b.right > a.right else "right_to_wrong"].append(
            {
                "clip_id": clip_id,
                "subject": a.subject,
                "emotion": a.emotion,
                "first": list(a.predicted),
                "later": list(b.predicted),
            }
        )
    return found


def _warnings(runs: Sequence[RunResults], left_out: Mapping[str, Sequence[str]]) -> list[str]:
    told = [f"{run.name} is {text}" for run in runs for text in run.protocol_warnings]
    for key, what in (("protocol", "protocols"), ("corpus", "corpora")):
        values = [str(run.summary.get(key, "not said")) for run in runs]
        if len(set(values)) > 1:
            pairs = ", ".join(f"{run.name} {v}" for run, v in zip(runs, values, strict=True))
            told.append(f"the {what} differ ({pairs}): so may what the runs could learn from")
    told += [
        f"{run.name} is of an external system: what it was trained on is not known here"
        for run in runs
        if run.summary.get("system") == "external"
    ]
    told += [f"left out of {name}: {few(clip_ids)}" for name, clip_ids in left_out.items()]
    return told


def _told(test: Test, label: str) -> dict[str, Any]:
    return {"test": test.name, "label": label, "p": test.p, "smallest_p": test.smallest_p}
