"""What the attention weighed: modalities, frames or segments, emotion by emotion."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from omegaconf import OmegaConf

from harness.drawing import ACCENT, INK, MIDDLE, Drawing, label, panel, room_for
from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, NUMBER, PERCENT, Column, Table

FIFTHS = 5
"""Parts of a clip that weights of segments are averaged over: clips have unlike lengths."""
Curves = dict[str, npt.NDArray[np.float64]]
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2)))


def attention_section(run: RunFolder) -> Section | None:
    """Mean weights by true emotion, or why there are none."""
    if run.predictions is None or run.segments is None:
        return None
    segments = run.segments.join(run.labels, on="clip_id")
    made = next(
        (make(segments, run) for column, make in KINDS.items() if _weighed(segments, column)), None
    )
    if made is None:
        said = "Nothing was weighed: the study has one modality, or simply joins the two vectors."
        return Section(anchor="attention", title="Attention", text=[said])
    return made


def _weighed(segments: pd.DataFrame, column: str) -> bool:
    return column in segments and bool(segments[column].notna().any())


def _modalities(segments: pd.DataFrame, run: RunFolder) -> Section:
    by_emotion = segments.groupby("emotion")
    between = segments.groupby(["emotion", "subject"]).beta_audio.mean().groupby("emotion").std()
    rows: list[tuple[str, int, float, float, float]] = []
    for name in [name for name in run.classes if name in by_emotion.groups]:
        of_emotion = by_emotion.get_group(name)
        audio, visual = of_emotion.beta_audio.mean(), of_emotion.beta_visual.mean()
        rows.append((name, len(of_emotion), float(audio), float(visual), float(between[name])))
    table = Table(
        name="attention",
        caption="Mean attention weights of test segments by true emotion.",
        columns=[
            Column("emotion", "emotion"),
            Column("segments", "segments", COUNT),
            Column("beta_audio", "audio, %", PERCENT),
            Column("beta_visual", "visual, %", PERCENT),
            Column("sd_subjects", "deviation between subjects, points", PERCENT),
        ],
        rows=rows,
    )
    names = [label(row[0]) for row in rows]
    figure, axes = panel(0.27 * len(rows) + 0.95, left=room_for(names), top=0.42)
    audio = np.array([100 * row[2] for row in rows])
    place = np.arange(len(rows))
    axes.barh(place, audio, height=0.66, color=ACCENT, edgecolor=INK, linewidth=0.6, label="audio")
    axes.barh(
        place,
        100 - audio,
        left=audio,
        height=0.66,
        color="white",
        edgecolor=INK,
        linewidth=0.6,
        hatch="////",
        label="visual",
    )
    for y, share in enumerate(audio):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
        axes.text(2, y, f"{share:.0f}", va="center", bbox=box)
        axes.text(98, y, f"{100 - share:.0f}", va="center", ha="right", bbox=box)
    axes.axvline(50, color=MIDDLE, linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5), xlabel="attention weight, %")
    axes.set_yticks(place, names)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.1)
    said = (
        "Mean over the test segments of each true emotion. A weight says what the fusion took, not "
        "what it would have needed."
    )
    if OmegaConf.select(OmegaConf.create(run.config), "fusion.attend_over") == "features":
        said += " The attention is over single features: these are sums over each vector's entries."
    return _section(
        said,
        "Attention on audio and on the visual vector, by true emotion.",
        figure,
        table,
    )


def _frames(segments: pd.DataFrame, run: RunFolder) -> Section:
    by_emotion = segments.dropna(subset="beta_timesteps").groupby("emotion").beta_timesteps
    curves = {
        name: np.stack(by_emotion.get_group(name).to_list()).mean(axis=0)
        for name in run.classes
        if name in by_emotion.groups
    }
    figure = _lines(curves, "frame of the segment", "mean weight")
    return _section(
        "Mean weight of each of the 20 frames of a segment, by true emotion; equal weights would "
        "be 1/20 each.",
        "Attention over the frames of a segment, by true emotion.",
        figure,
        _curve_table(curves, "frame"),
    )


def _segments(segments: pd.DataFrame, run: RunFolder) -> Section:
    keys = [key for key in ("split_id", "clip_id") if key in segments]
    of_clip = segments.groupby(keys).segment_index
    place = of_clip.rank() - 0.5
    count = of_clip.transform("size")
    fifth = np.minimum((place / count * FIFTHS).astype(int), FIFTHS - 1)
    relative = segments.beta_segments * count
    means = (
        relative.groupby([segments.emotion, fifth]).mean().unstack().reindex(columns=range(FIFTHS))
    )
    curves = {name: means.loc[name].to_numpy() for name in run.classes if name in means.index}
    figure = _lines(curves, "fifth of the clip", "weight, 1 = all segments alike")
    return _section(
        "Mean weight of a segment times the number of its clip's segments, by where in the clip it "
        "lies and by true emotion: 1 is what equal weights would give.",
        "Attention over the segments of a clip, by true emotion.",
        figure,
        _curve_table(curves, "fifth"),
    )


KINDS = {"beta_timesteps": _frames, "beta_segments": _segments, "beta_audio": _modalities}
"""Column that holds weights -> what makes its section."""


def _lines(curves: Curves, x: str, y: str) -> Figure:
    figure, axes = panel(2.9, left=0.6, top=0.62)
    for (name, weights), line in zip(curves.items(), cycle(LINES), strict=False):
        steps = np.arange(1, len(weights) + 1)
        known = ~np.isnan(weights)
        axes.plot(
            steps[known],
            weights[known],
            linestyle=line,
            marker=".",
            markersize=4,
            color=INK,
            linewidth=1.2,
            label=label(name),
        )
    axes.set(xlabel=x, ylabel=y)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.1, handlelength=3
    )
    return figure


def _curve_table(curves: Curves, step: str) -> Table:
    weights = np.stack(list(curves.values()), axis=1)
    return Table(
        name="attention",
        caption=f"Mean attention weights by {step} and true emotion.",
        columns=[Column(step, step, COUNT), *(Column(name, name, NUMBER) for name in curves)],
        rows=[[number, *row] for number, row in enumerate(weights.tolist(), 1)],
    )


def _section(said: str, caption: str, figure: Figure, table: Table) -> Section:
    return Section(
        anchor="attention",
        title="Attention",
        text=[said],
        drawings=[Drawing("attention", caption, figure)],
        tables=[table],
    )
