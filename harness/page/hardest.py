"""The clips that were furthest from being recognised, and what each of their segments voted."""

from __future__ import annotations

import pandas as pd

from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, PERCENT, VOTES, Column, Table, Vote
from harness.page.voting import keys_of, voted

ON_PAGE = 15


def hardest_section(run: RunFolder) -> Section | None:
    """Wrong clips, that with the least probability of the true emotion first."""
    if run.predictions is None:
        return None
    wrong = hardest_clips(run)
    if wrong.empty:
        return None
    votes = _votes(run) if run.votes else None
    keys = keys_of(run) if run.votes else []
    often = int(wrong.tested.max()) > 1
    columns = [
        Column("clip_id", "clip"),
        Column("subject", "subject"),
        Column("emotion", "true"),
        Column("predicted", "taken for"),
        Column("p_true", "probability of the true one, %", PERCENT),
        Column("p_predicted", "of the predicted one, %", PERCENT),
    ]
    if often:
        columns += [Column("wrong", "wrong", COUNT), Column("tested", "tested", COUNT)]
    if votes is not None:
        columns.append(Column("votes", "votes of its segments, in order", VOTES))
    rows = []
    for row in wrong.itertuples():
        cells = [row.clip_id, row.subject, row.emotion, row.predicted, row.p_true, row.p_predicted]
        if often:
            cells += [row.wrong, row.tested]
        if votes is not None:
            choices = votes[tuple(getattr(row, key) for key in keys)]
            cells.append(tuple(Vote(choice, choice == row.emotion) for choice in choices))
        rows.append(cells)
    shown = min(ON_PAGE, len(rows))
    clips = run.predictions.clip_id.nunique()
    which = f"Here are the {shown} hardest." if len(rows) > shown else "The hardest come first."
    if wrong.p_true.isna().all():
        which = f"Here are {shown}, by name: without probabilities none is harder than another."
    text = [f"Not recognised: {len(rows)} of {clips} clips. {which}"]
    if often:
        text.append("A clip was tested several times: it stands here with its worst result.")
    if votes is not None:
        text.append("Votes for the true emotion are underlined.")
    return Section(
        anchor="hardest",
        title="The hardest clips",
        text=text,
        tables=[
            Table(
                name="hardest_clips",
                caption="Clips that were not recognised, the hardest first.",
                columns=columns,
                rows=rows,
                on_page=ON_PAGE,
            )
        ],
    )


def hardest_clips(run: RunFolder) -> pd.DataFrame:
    """Return wrong predictions, one a clip, with `p_true`, `p_predicted`, `wrong`, `tested`."""
    assert run.predictions is not None
    table = run.predictions
    for name, label in (("p_true", "emotion"), ("p_predicted", "predicted")):
        found = [
            row.get(f"p_{row[label]}")
            for row in table[[c for c in table if c.startswith("p_")] + [label]].to_dict("records")
        ]
        table = table.assign(**{name: pd.Series(found, index=table.index, dtype="float64")})
    right = table.predicted == table.emotion
    table = table.assign(
        wrong=(~right).groupby(table.clip_id).transform("sum"),
        tested=right.groupby(table.clip_id).transform("size"),
    )
    wrong = table[~right].sort_values(["p_true", "clip_id"], kind="stable")
    return wrong.drop_duplicates("clip_id")


def _votes(run: RunFolder) -> dict[tuple[object, ...], list[str]]:
    keys = keys_of(run)
    ordered = voted(run).sort_values([*keys, "segment_index"])
    return {key: list(votes) for key, votes in ordered.groupby(keys).vote}
