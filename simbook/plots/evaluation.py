r"""The figures of chapter 6."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simbook.plots.style import COLOURS, WIDTH, colour, nothing_yet, shared_legend
from simbook.tables.common import named, rate


def accuracy_dots(frame: pd.DataFrame, *, title: str) -> Figure:
    """Draw Table 3, a panel a data set and a row a setting: seeds, their mean, and a ring for the paper's number.

    Args:
        frame: rows of :func:`simbook.tables.evaluation.accuracies` that were run, of all seeds.
    """
    if frame.empty:
        return nothing_yet(title)
    names = list(frame.dataset.unique())
    rows = frame[["title", "lr"]].drop_duplicates()
    first = {name: i for i, name in enumerate(rows.title.unique())}  # rates of one method below each other
    rows = rows.assign(place=rows.title.map(first)).sort_values(["place", "lr"], kind="stable")
    places = {(row.title, row.lr): i for i, row in enumerate(rows.itertuples())}
    size = {"figsize": (WIDTH, 1.3 + 0.42 * len(rows)), "layout": "constrained"}
    figure, grid = plt.subplots(1, len(names), sharey=True, squeeze=False, **size)
    for axes, name in zip(grid.flat, names, strict=True):
        for i in range(0, len(rows), 2):  # bands keep a row together across the panels
            axes.axhspan(i - 0.5, i + 0.5, color="0.96", lw=0, zorder=0)
        _settings(axes, frame[frame.dataset == name], places, list(dict.fromkeys(frame.attack)))
        axes.set(title=named(name), xlim=(-4, 104), xlabel="test accuracy (%)", ylim=(len(rows) - 0.5, -0.5))
        axes.grid(visible=False, axis="y")
    grid[0, 0].set_yticks(range(len(rows)), [f"{name}, {rate(lr)}" for name, lr in places])
    grid[0, 0].set_ylabel("method, learning rate")
    shared_legend(figure, ncols=4)
    sns.despine(figure, left=True)
    return figure


def _settings(axes: Axes, part: pd.DataFrame, places: dict[tuple[str, float], int], attacks: list[str]) -> None:
    """Draw the settings of one data set, each at its place; attacks stand a little apart: none hides another."""
    for i, attack in enumerate(attacks):
        hue, beside = colour(attack), 0.2 * (i - (len(attacks) - 1) / 2)
        of = part[part.attack == attack]
        means = of.groupby(["title", "lr"], sort=False).agg(
            true=("true", "mean"), low=("true", "min"), high=("true", "max"), paper=("paper", "first")
        )
        at = [places[key] + beside for key in means.index]
        axes.hlines(at, means.low, means.high, color=hue, lw=1)
        axes.plot(means.true, at, "o", ms=5, color=hue, label=attack)
        axes.plot(means.paper, at, "o", ms=8, mfc="none", mec=hue, mew=1.1)
        several = of[of.groupby(["title", "lr"]).seed.transform("nunique") > 1]
        own = [places[key] + beside for key in zip(several.title, several.lr, strict=True)]
        axes.plot(several.true, own, "o", ms=2.6, color=hue, mec="black", mew=0.5)
    axes.plot([], [], "o", ms=5, color="0.4", label="mean of the seeds")
    axes.plot([], [], "o", ms=2.6, color="0.4", mec="black", mew=0.5, label="a seed, where several")
    axes.plot([], [], "o", ms=8, mfc="none", mec="0.4", label="the paper's number")


def robustness_by_epoch(curves: dict[str, pd.DataFrame], *, resets: Iterable[int], attack: str, title: str) -> Figure:
    """Draw robust accuracy after each epoch, a panel a data set, with the epochs in which ``cycle`` resets.

    Args:
        curves: data set and run, ``MNIST: SIM(10,20)-Adv``, to a frame with ``epoch`` and ``robust`` (percent).
        resets: epochs marked by vertical lines, as far as a panel goes.
    """
    if not curves:
        return nothing_yet(title)
    parts, resets = [label.rpartition(": ") for label in curves], list(resets)
    names, runs = (list(dict.fromkeys(part[i] for part in parts)) for i in (0, 2))
    figure, grid = plt.subplots(1, len(names), figsize=(WIDTH, 3.6), sharey=True, squeeze=False, layout="constrained")
    for (name, _, run), curve in zip(parts, curves.values(), strict=True):
        axes, i = grid[0, names.index(name)], runs.index(run)  # a run looks the same in every panel
        axes.plot(curve.epoch, curve.robust, marker="os^D"[i % 4], ms=3, lw=1.4, color=COLOURS[i], label=run)
    for axes, name in zip(grid.flat, names, strict=True):
        last = max(line.get_xdata()[-1] for line in axes.lines)
        for i, epoch in enumerate(epoch for epoch in resets if epoch < last):
            look = {"color": "0.7", "ls": ":", "lw": 1, "zorder": 0}
            axes.axvline(epoch + 0.5, label=None if i else "reset of the cycle", **look)
        axes.set(xlabel="epochs trained", ylim=(-3, 103), title=name)
        axes.grid(visible=False, axis="x")
    grid[0, 0].set_ylabel(f"accuracy under\n{attack} (%)")
    shared_legend(figure)
    sns.despine(figure)
    return figure
