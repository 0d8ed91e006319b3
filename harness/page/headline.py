"""What stands at the top: the number, its interval, its protocol, and what must be said with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.page.cautions import marked_table
from harness.page.run_folder import RunFolder
from harness.page.tables import NOTE, PERCENT, Column, Table

OF_A_SPLIT = re.compile(r"split ([^:]+): (.*)", re.DOTALL)
NO_WIDTH = 1e-9
OURS = "harness"
"""`system` of a study whose models were trained here."""
SYNTHETIC = "synthetic"
"""`corpus` of a study whose clips were made here."""
DRAWN = (
    "drawn faces and synthesised voices: the figures show that the machinery works, and say "
    "nothing about people"
)
NAMED = 3
"""Splits that a warning names."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The head of the page."""

    title: str
    number: str
    """Empty where the study is incomplete."""
    interval: str
    meaning: str
    cautions: Sequence[str]
    """What stands directly beside the number."""
    warnings: Sequence[str]
    facts: Sequence[tuple[str, str]]
    failures: Sequence[tuple[str, str]]
    """Split and error."""
    figures: Table | None


def headline_of(run: RunFolder) -> Headline:
    """Return the head; an incomplete study has neither number nor figures."""
    summary = run.summary
    cautions = cautions_of(run)
    told = summary.get("warnings", ())
    others = [w for w in told if w not in cautions and not w.startswith("incomplete:")]
    if SYNTHETIC in summary["corpus"].split():
        others.insert(0, DRAWN)
    return Headline(
        title=f"{summary['protocol']} on {summary['corpus']}",
        number=f"{100 * summary['clip_accuracy_subject_mean']:.1f} %" if run.complete else "",
        interval=_interval(run) if run.complete else "",
        meaning=_meaning(run, cautions),
        cautions=cautions,
        warnings=joined_by_split(others),
        facts=_facts(run),
        failures=[(row["split_id"], row["error"]) for row in summary.get("splits_failed", ())],
        figures=marked_table(_figures(run), cautions) if run.complete else None,
    )


def cautions_of(run: RunFolder) -> list[str]:
    """Return the warnings without which the numbers must never be read."""
    summary = run.summary
    older = [w for w in summary.get("warnings", ()) if w.startswith(("subject-dep", "leaking"))]
    cautions = list(summary.get("protocol_warnings", older))
    if summary.get("system", OURS) != OURS:
        of_system = [w for w in summary["warnings"] if w.startswith("an external system")]
        cautions += of_system or ["an external system: what it was trained on is not known here"]
    return cautions


def joined_by_split(warnings: Sequence[str]) -> list[str]:
    """Return warnings, those that many splits share only once."""
    splits: dict[str, list[str]] = {}
    for warning in warnings:
        match = OF_A_SPLIT.fullmatch(warning)
        name, text = match.groups() if match else ("", warning)
        splits.setdefault(text, []).append(name)
    return [_named(names, text) for text, names in splits.items()]


def _named(splits: Sequence[str], text: str) -> str:
    if not splits[0]:
        return text
    if len(splits) == 1:
        return f"split {splits[0]}: {text}"
    more = f" and {len(splits) - NAMED} more" if len(splits) > NAMED else ""
    return f"{len(splits)} splits ({', '.join(splits[:NAMED])}{more}): {text}"


def _interval(run: RunFolder) -> str:
    low, high = run.summary["ci95_low"], run.summary["ci95_high"]
    if low is None:
        return "one subject gives no interval"
    if high - low < NO_WIDTH:
        return "no interval: all subjects are alike"
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"


def _meaning(run: RunFolder, cautions: Sequence[str]) -> str:
    summary = run.summary
    if not run.complete:
        return (
            f"Incomplete: {summary['splits_done']} of {summary['splits_expected']} splits are "
            "done. There is no figure of the study: an average over the splits that are done would "
            "be one over chosen people."
        )
    people = len(summary["per_subject"])
    text = (
        f"of a person's clips recognised: the mean over {people} subjects, under "
        f"{summary['protocol']}"
    )
    if run.done and not cautions:
        text += ", by models that were not trained on the people tested"
    text += "."
    text += f" The interval: {_label(run)}."
    if summary["clip_accuracy_all"] != summary["clip_accuracy"]:
        text += (
            f" With the clips that have no prediction counted as not recognised, "
            f"{100 * summary['clip_accuracy_all']:.1f} % of all {summary['clips']} clips are right."
        )
    return text


def _label(run: RunFolder) -> str:
    """Return how the headline's interval is made and is to be read."""
    for interval in run.summary.get("intervals", ()):
        if interval["of"] == "clip_accuracy_subject_mean":
            return f"{interval['method']}, {interval['label']}"
    return "t interval, nominal 95 % over the subjects"


def _facts(run: RunFolder) -> list[tuple[str, str]]:
    summary = run.summary
    used = f"{summary['clips_usable']} of {summary['clips']}"
    facts = [
        ("study", run.name),
        ("corpus", summary["corpus"]),
        ("protocol", summary["protocol"]),
        ("subjects", str(len(summary.get("per_subject", ())))),
        ("clips used", used),
        ("splits done", f"{summary['splits_done']} of {summary['splits_expected']}"),
        ("emotions", ", ".join(run.classes)),
    ]
    if summary.get("sentence_overlap") is not None:
        known = f"{100 * summary['sentence_overlap']:.1f} % of the test clips say what a training "
        facts.append(("known sentences", f"{known}clip says too"))
    return facts if run.complete else [fact for fact in facts if fact[0] != "subjects"]


def _figures(run: RunFolder) -> Table:
    summary = run.summary
    rows: list[list[Any]] = [
        [
            "mean over subjects",
            summary["clip_accuracy_subject_mean"],
            summary["ci95_low"],
            summary["ci95_high"],
            f"accuracy of each subject, averaged; {_label(run)}",
        ],
    ]
    pooled = [i for i in summary.get("intervals", ()) if i["of"] == "clip_accuracy"]
    for interval in pooled or [{"low": None, "high": None, "method": "", "label": ""}]:
        words = "of all clips together"
        if interval["method"]:
            words += f"; {interval['method']}, {interval['label']}"
        ends = [interval["low"], interval["high"]]
        rows.append(["pooled accuracy", summary["clip_accuracy"], *ends, words])
    if summary["clip_accuracy_all"] != summary["clip_accuracy"]:
        share = summary["clip_accuracy_all"]
        rows.append(
            ["with lost clips wrong", share, None, None, "what was dropped counts as wrong"]
        )
    rows.append(["UAR", summary["uar"], None, None, "mean recall of the emotions"])
    rows += [
        [name, summary[key], None, None, words]
        for key, name, words in MORE
        if summary.get(key) is not None and (run.votes or key not in OF_VOTES)
    ]
    chance = summary.get("chance", 1 / len(run.classes))
    rows.append(["guessing", chance, None, None, f"{len(run.classes)} emotions"])
    if "majority_class_rate" in summary:
        words = f"always {summary['majority_class']}"
        rows.append(["commonest emotion", summary["majority_class_rate"], None, None, words])
    for key, word in SPREADS.items():
        rows += _spread(summary.get(key), word)
    return Table(
        name="headline",
        caption="The figures of the study.",
        columns=[
            Column("figure", "figure"),
            Column("value", "%", PERCENT),
            Column("low", "nominal 95 % from", PERCENT),
            Column("high", "to", PERCENT),
            Column("what", "what it is", NOTE),
        ],
        rows=rows,
    )


MORE = (
    ("weighted_f1", "weighted F1", "mean F1 of the emotions, by their clips"),
    ("clip_accuracy_by_mean", "by mean probability", "in place of the vote"),
    ("segment_accuracy", "segment accuracy", "each segment on its own"),
    ("tie_rate", "ties", "clips whose vote was tied"),
    ("subject_sd", "deviation between subjects", "standard deviation, points"),
    ("coverage", "coverage", "clips predicted of clips to be tested"),
)
"""Key of the summary, name, what it is; older run folders lack some."""
OF_VOTES = ("clip_accuracy_by_mean", "tie_rate")
"""Where nothing was voted on these say nothing."""
SPREADS = {"seeds": "seeds", "repeats": "repeats"}


def _spread(found: Mapping[str, Any] | None, word: str) -> list[list[Any]]:
    """Return the row on how far trainings lie apart; nothing where there was one."""
    if not found or not isinstance(found, Mapping) or "each" not in found:
        return []
    shares = [row["clip_accuracy"] for row in found["each"]]
    words = (
        f"standard deviation of the pooled accuracy over {len(shares)} {word}, points; from "
        f"{100 * min(shares):.1f} to {100 * max(shares):.1f} %"
    )
    return [[f"deviation between {word}", found["sd"], None, None, words]]
