r"""The figures of chapter 3 beside t-SNE: ATDA's training by epoch, and Fig. 2."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from simbook.plots.style import COLOURS, WIDTH, colour, nothing_yet
from simbook.tables.common import named


def training(seen: pd.DataFrame, *, monitor: str) -> Figure:
    """Draw ATDA's training, a line a run: the loss on the left, robust accuracy on the right.

    Args:
        seen: ``label, epoch, loss, robust``; ``robust`` in percent, NaN where nothing was watched.
        monitor: the attack that was watched.
    """
    if seen.empty:
        return nothing_yet("ATDA, epoch by epoch")
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    figure.set_layout_engine("constrained", wspace=0.06)
    for i, (label, line) in enumerate(seen.groupby("label", sort=False)):
        mark = {"marker": "os^D"[i % 4], "ms": 3, "lw": 1.3, "color": COLOURS[i], "label": label}
        left.plot(line.epoch, line.loss, **mark)
        right.plot(line.epoch, line.robust, **mark)
    left.set(xlabel="epochs trained", ylabel="training loss", ylim=(0, None))
    right.set(xlabel="epochs trained", ylabel=f"accuracy under {monitor} (%)", ylim=(-3, 103))
    if seen.robust.isna().all():
        right.set(xticks=[], yticks=[])
        right.text(0.5, 0.5, "not watched", ha="center", va="center", transform=right.transAxes)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    sns.despine(figure)
    return figure


def lambda_sweep(points: pd.DataFrame, *, marked: dict[float, str]) -> Figure:
    """Draw Fig. 2, a panel a data set: accuracy against lambda, a line an attack, with the 95 % interval.

    Args:
        points: as :func:`simbook.tables.atda.swept` makes them.
        marked: values of lambda with a vertical line, and what is written at it.
    """
    if points.empty:
        return nothing_yet("BIM-Adv with ATDA's loss")
    names = list(points.groupby(["dataset", "title"], sort=False).groups)
    figure, grid = plt.subplots(1, len(names), figsize=(WIDTH, 3.6), squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.08)
    for axes, (dataset, title) in zip(grid.flat, names, strict=True):
        _sweep(axes, points[(points.dataset == dataset) & (points.title == title)], marked)
        axes.set_title(f"{named(dataset)}: {title.removesuffix(' + DA')}", pad=20)
    grid[0, 0].set_ylabel("test accuracy (%)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    sns.despine(figure)
    return figure


def _sweep(axes: Axes, points: pd.DataFrame, marked: dict[float, str]) -> None:
    """Draw one data set's lines; what a mark says stands above the frame, where no line can run."""
    for attack, line in points.groupby("attack", sort=False):
        shape = "o" if attack.startswith("BIM") else "s"
        axes.plot(line.lambda_, line.true, marker=shape, ms=5, lw=1.5, color=colour(attack), label=attack)
        axes.fill_between(line.lambda_, line.low, line.high, color=colour(attack), alpha=0.18, lw=0)
    for value, text in marked.items():
        axes.axvline(value, color="grey", ls=":", lw=1)
        axes.annotate(text, (value, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8.5)
    axes.xaxis.set_major_locator(MultipleLocator(0.1))
    axes.set_xlabel("weight of ATDA's loss, $\\lambda$")
