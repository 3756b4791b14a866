r"""The panels of Figs. 1 and 9: t-SNE of a net's features."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simbook.plots.style import COLOURS, WIDTH, nothing_yet

# the paper's blue, green and red in shades that colour-blind readers tell apart; shapes say the same again
MARKS: dict[str, dict] = {
    "reference": {"marker": "o", "s": 7, "color": COLOURS[0], "alpha": 0.45, "linewidths": 0},
    "target": {"marker": "o", "s": 22, "facecolors": "none", "edgecolors": COLOURS[2], "linewidths": 0.9},
    "adversarial example": {"marker": "x", "s": 14, "color": COLOURS[3], "linewidths": 0.9},
}


def tsne_panels(titles: list[str], points: pd.DataFrame, *, columns: int = 3) -> Figure:
    """Draw a panel for each title: references, targets, and the targets' adversarial examples.

    Args:
        titles: of all panels; one without points says that it was not run.
        points: as :func:`simbook.tables.embedding.points` makes them.
        columns: panels in a row.
    """
    if points.empty:
        return nothing_yet("t-SNE of the penultimate layer")
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, 0.4 + WIDTH * rows / columns), squeeze=False)
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06)
    for axes, name in zip(grid.flat, titles, strict=False):
        _panel(axes, points[points.panel == name], name)
    spare = list(grid.flat)[len(titles) :]
    for axes in spare:
        axes.set_axis_off()
    handles = [plt.scatter([], [], **mark, label=kind) for kind, mark in MARKS.items()]
    if spare:
        spare[0].legend(handles=handles, loc="center", markerscale=1.8, title="t-SNE of the penultimate layer")
    else:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(MARKS), markerscale=1.8)
    return figure


def _panel(axes: Axes, points: pd.DataFrame, title: str) -> None:
    """Draw one net's points, with the class of each cluster of references in its middle."""
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10.5)
    if points.empty:
        axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)
        return
    for kind, mark in MARKS.items():
        part = points[points.kind == kind]
        axes.scatter(part.x, part.y, **mark)
    for true_class, part in points.groupby("true_class"):  # of references alone
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
        at = (part.x.median(), part.y.median())
        axes.annotate(str(true_class), at, ha="center", va="center", fontsize=8.5, color="0.25", bbox=box)
