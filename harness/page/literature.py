"""This study's number among published ones, each with its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.literature import published_rows
from harness.page.cautions import in_short
from harness.page.headline import cautions_of
from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, NOTE, PERCENT, Column, Table
from harness.published import KFOLD, LOSO, PUBLISHED, THE_PAPER

CAUTION = {
    LOSO: "people tested were not trained on",
    KFOLD: "unit of the folds not said: people tested may have been trained on",
}


def literature_section(run: RunFolder) -> Section | None:
    """Published numbers of this corpus; where there are none, all, and it is said."""
    corpus = run.summary["corpus"]
    rows = published_rows(corpus)
    text = [
        "No two rows are of the same clips, so this is context and no ranking. A published "
        "number's interval is Wilson's over its clips: it ignores that clips of one person hang "
        "together, so the true one is wider.",
        f"The LOSO number of {THE_PAPER} on RML is the mean of its figure 4's diagonal: a UAR.",
    ]
    if not rows:
        rows = [
            row
            for known in dict.fromkeys(n.corpus for n in PUBLISHED)
            for row in published_rows(known)
        ]
        text.insert(
            0,
            f"None of the published numbers is of the corpus {corpus}. Those of other corpora are "
            "here to show what is common, and can't be compared with this study.",
        )
    return Section(
        anchor="published",
        title="Beside published numbers",
        text=text,
        tables=[
            Table(
                name="published",
                caption="This study and published accuracies, each with its protocol.",
                columns=[
                    Column("system", "system"),
                    Column("corpus", "corpus"),
                    Column("protocol", "protocol"),
                    Column("clips", "clips", COUNT),
                    Column("accuracy", "accuracy, %", PERCENT),
                    Column("low", "nominal 95 % from", PERCENT),
                    Column("high", "to", PERCENT),
                    Column("interval", "interval"),
                    Column("remark", "remark", NOTE),
                ],
                rows=[*_ours(run), *map(_published, rows)],
            )
        ],
    )


def _ours(run: RunFolder) -> list[list[object]]:
    """Return this study's rows; none of a study that is incomplete."""
    if not run.complete:
        return []
    summary = run.summary
    remark = in_short(cautions_of(run))
    pooled = "; ".join(["of all clips together", *([remark] if remark else [])])
    common = [summary["corpus"], summary["protocol"], summary["clips_usable"]]
    interval = [summary["ci95_low"], summary["ci95_high"]]
    return [
        [
            "this study, mean over subjects",
            *common,
            summary["clip_accuracy_subject_mean"],
            *interval,
            "t over subjects",
            remark or None,
        ],
        ["this study, UAR", *common, summary["uar"], None, None, None, pooled],
    ]


def _published(row: Mapping[str, Any]) -> list[object]:
    names = ("system", "corpus", "protocol", "clips", "accuracy", "low", "high")
    interval = None if row["low"] is None else "Wilson, ignores subjects"
    return [*(row[name] for name in names), interval, CAUTION[row["protocol"]]]
