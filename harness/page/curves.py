"""How the networks learned: all stages, each split and their mean."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.drawing import ACCENT, INK, LIGHT, SOFT, WIDTH, Drawing
from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, PERCENT, Column, Table

STAGES = {"audio": 1, "visual": 1, "fusion": 2}
JOINT = "joint"
"""Of a training in one stage, which has no number."""
PARTS = {"train": ("-", INK, LIGHT), "validation": ("--", ACCENT, SOFT)}
"""Part -> line style, colour of the mean, colour of single splits."""
AS_PIXELS = 20
"""Splits from which their lines are pixels in a vector file: they would be megabytes."""
HEIGHT = 3.3


def curves_section(run: RunFolder) -> Section | None:
    """One figure for each network."""
    rows = [
        {"split_id": entry["split_id"], **row}
        for entry in run.done
        for row in entry.get("curves", ())
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    networks = sorted(table.network.unique(), key=lambda name: (STAGES.get(name, 3), name))
    text = [
        "Loss and accuracy of segments. Dark lines are means over the splits, of which those that "
        "have stopped keep their last value; pale lines are single splits. Broken lines are the "
        "inner validation subjects, by whose loss the epoch was chosen. No test clip is in here."
    ]
    resumed = sorted({e["split_id"] for e in run.done if any((e.get("resumed") or {}).values())})
    if resumed:
        text.append(f"Went on after an interruption: {', '.join(resumed)}.")
    return Section(
        anchor="curves",
        title="Learning curves",
        text=text,
        drawings=[
            Drawing(
                f"curves_{name}",
                f"{_stage(name)}, {name} network: {count} splits.",
                _figure(table[table.network == name]),
            )
            for name in networks
            if (count := table[table.network == name].split_id.nunique())
        ],
        tables=[_chosen(run, networks, table)],
    )


def _stage(network: str) -> str:
    return "One stage" if network == JOINT else f"Stage {STAGES.get(network, '?')}"


def _figure(curves: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT))
    for place, (measure, scale) in enumerate((("loss", 1), ("accuracy", 100))):
        bottom = (0.42 if place else 1.84) / HEIGHT
        axes = figure.add_axes((0.55 / WIDTH, bottom, (WIDTH - 0.65) / WIDTH, 1.22 / HEIGHT))
        for part, (line, dark, pale) in PARTS.items():
            _draw(axes, curves, f"{part}_{measure}", scale, line, dark, pale, part)
        axes.set(ylabel=measure + (", %" if scale == 100 else ""))
        axes.set_ylim(bottom=0, top=100 if scale == 100 else None)
        if place:
            axes.set(xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            axes.tick_params(labelbottom=False)
            axes.legend(loc="lower left", bbox_to_anchor=(0, 0.99), ncols=2, borderaxespad=0.1)
    return figure


def _draw(
    axes: Axes,
    curves: pd.DataFrame,
    column: str,
    scale: float,
    line: str,
    dark: str,
    pale: str,
    part: str,
) -> None:
    if column not in curves or not curves[column].notna().any():
        return
    wide = curves.pivot_table(index="epoch", columns="split_id", values=column) * scale
    single = [wide[name].dropna() for name in wide]
    axes.add_collection(
        LineCollection(
            [list(zip(values.index, values, strict=True)) for values in single],
            colors=pale,
            linewidths=0.7,
            linestyles=line,
            rasterized=len(single) > AS_PIXELS,
        )
    )
    # A split that stopped keeps its last value: else the mean would leap where one drops out.
    mean = wide.ffill().mean(axis=1)
    axes.plot(mean.index, mean, linestyle=line, color=dark, linewidth=1.4, label=part)


def _chosen(run: RunFolder, networks: list[str], curves: pd.DataFrame) -> Table:
    rows: list[list[Any]] = []
    for name in networks:
        epochs = pd.Series([e.get("chosen_epochs", {}).get(name) for e in run.done]).dropna()
        trained = curves[curves.network == name].groupby("split_id").epoch.max()
        best = _at_choice(run, curves, name)
        rows.append(
            [
                name,
                STAGES.get(name),
                float(trained.median()),
                *(
                    (float(epochs.min()), float(epochs.median()), float(epochs.max()))
                    if len(epochs)
                    else (None,) * 3
                ),
                best,
            ]
        )
    return Table(
        name="epochs",
        caption="Epochs trained and chosen, over the splits.",
        columns=[
            Column("network", "network"),
            Column("stage", "stage", COUNT),
            Column("trained_median", "epochs trained, median", COUNT),
            Column("chosen_min", "chosen: earliest", COUNT),
            Column("chosen_median", "median", COUNT),
            Column("chosen_max", "latest", COUNT),
            Column("validation_accuracy", "validation accuracy then, %", PERCENT),
        ],
        rows=rows,
    )


def _at_choice(run: RunFolder, curves: pd.DataFrame, name: str) -> float | None:
    """Return the mean validation accuracy of segments in the epochs that were chosen."""
    if "validation_accuracy" not in curves:
        return None
    chosen = pd.DataFrame(
        [(e["split_id"], e.get("chosen_epochs", {}).get(name)) for e in run.done],
        columns=["split_id", "epoch"],
    )
    mean = curves[curves.network == name].merge(chosen, on=["split_id", "epoch"])
    value = mean.validation_accuracy.mean()
    return None if pd.isna(value) else float(value)
