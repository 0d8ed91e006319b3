"""Who is taken for whom: the confusion matrix in the paper's form, beside the paper's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from harness.drawing import Drawing, label, panel, room_for
from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, NOTHING, PERCENT, Column, Table
from harness.published import FIGURE_4, FIGURE_4_LABELS, THE_PAPER

Matrix = npt.NDArray[np.float64]
WHITE_TO_BLUE = LinearSegmentedColormap.from_list("white to blue", ["#ffffff", "#1f5a94"])
DARK = 0.55
"""Share from which a number is printed in white."""


def confusion_section(run: RunFolder) -> Section | None:
    """Ours in per cent and counts; figure 4 where it has the same emotions."""
    if "confusion" not in run.summary:
        return None
    counts = np.asarray(run.summary["confusion"], dtype=np.float64)
    shares = row_shares(counts)
    ours = Drawing(
        "confusion",
        f"This study: {run.summary['protocol']} on {run.summary['corpus']}. Rows: true emotion. "
        "Per cent of the clips that show it.",
        matrix_figure(shares, run.classes),
    )
    drawings, said = [ours], _beside(run)
    if set(run.classes) == set(FIGURE_4_LABELS):
        drawings.append(
            Drawing(
                "confusion_paper",
                f"{THE_PAPER}, figure 4: LOSO on RML, 500 clips of 8 people. Rows: true emotion, "
                "per cent.",
                matrix_figure(np.asarray(FIGURE_4) / 100, FIGURE_4_LABELS),
            )
        )
    return Section(
        anchor="confusion",
        title="Which emotions are taken for which",
        text=[said],
        drawings=drawings,
        tables=[_table(run.classes, counts, shares)],
    )


def row_shares(counts: Matrix) -> Matrix:
    """Return each row as shares of its sum; NaN where no clip shows the emotion."""
    totals = counts.sum(axis=1, keepdims=True)
    shares: Matrix = np.full_like(counts, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def matrix_figure(shares: Matrix, classes: Sequence[str]) -> Figure:
    """Draw shares [true, predicted] as per cent in cells."""
    names = [label(name) for name in classes]
    left, size = room_for(names) + 0.1, len(names)
    slanted = max(map(len, names)) * size > 46
    bottom = 0.36 + (0.045 * max(map(len, names)) if slanted else 0.1)
    figure, axes = panel(max(1.8, 0.4 * size) + bottom + 0.08, left=left, bottom=bottom)
    axes.pcolormesh(
        np.nan_to_num(shares),
        cmap=WHITE_TO_BLUE,
        vmin=0,
        vmax=1,
        edgecolors="#bbbbbb",
        linewidth=0.5,
    )
    digits, font_size = _print_of(axes.bbox.width / figure.dpi / size)
    for (row, column), share in np.ndenumerate(shares):
        text = NOTHING if np.isnan(share) else f"{100 * share:.{digits}f}"
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            color="white" if share > DARK else "#1a1a1a",
            fontweight="bold" if row == column else "normal",
            fontsize=font_size,
        )
    middle = np.arange(size) + 0.5
    axes.set_xticks(
        middle, names, rotation=35 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_yticks(middle, names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _print_of(width: float) -> tuple[int, float]:
    """Return decimals and font size of numbers in cells so many inches wide: the paper's two."""
    digits = 2 if width > 0.4 else 1
    return digits, min(8.5, 72 * width / (0.68 * (4 + digits)))


def _beside(run: RunFolder) -> str:
    if set(run.classes) != set(FIGURE_4_LABELS):
        return (
            f"The paper's figure 4 ({THE_PAPER}, LOSO on RML) is of other emotions "
            f"({', '.join(FIGURE_4_LABELS)}), so it does not stand beside this one."
        )
    text = f"Beside it: figure 4 of {THE_PAPER}, the only one whose numbers are known here."
    protocol, corpus = run.summary["protocol"], run.summary["corpus"]
    if corpus != "rml" or not protocol.startswith("LOSO"):
        text += f" It is of LOSO on RML, not of {protocol} on {corpus}: compare the pattern only."
    return text


def _table(classes: Sequence[str], counts: Matrix, shares: Matrix) -> Table:
    rows = [
        [name, int(total) if float(total).is_integer() else total, *counted, share[number]]
        for number, (name, total, counted, share) in enumerate(
            zip(classes, counts.sum(axis=1).tolist(), counts.tolist(), shares.tolist(), strict=True)
        )
    ]
    return Table(
        name="confusion",
        caption="Clips by true emotion (rows) and predicted emotion (columns).",
        columns=[
            Column("true", "true"),
            Column("clips", "clips", COUNT),
            *(Column(f"predicted_{name}", name, COUNT) for name in classes),
            Column("recall", "recall, %", PERCENT),
        ],
        rows=rows,
    )
