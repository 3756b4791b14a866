r"""The figures of chapter 7: accuracy against passes, reset policies, stale gradients, and larger balls."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simbook.measures.survival import RADII
from simbook.plots.style import COLOURS, nothing_yet, shared_legend

FAMILIES = {"sim": "SIM-Adv", "sim-k": "SIM-Adv, k steps", "free-sim": "free-SIM", "atta": "ATTA-1", "mep": "FGSM-MEP"}
FAMILIES |= {"rs-fgsm": "RS-FGSM", "n-fgsm": "N-FGSM", "bim": "BIM-Adv", "free": "Free-Adv", "vanilla": "Vanilla"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def passes(curves: pd.DataFrame, *, title: str) -> Figure:
    """Draw robust accuracy against the passes spent, a panel a data set, a colour and marker a method, a line a run.

    The marker is at the last epoch.

    Args:
        curves: as :func:`simbook.tables.beyond.curves` makes them.
    """
    if curves.empty:
        return nothing_yet(title)
    names = list(curves.dataset.unique())
    figure, grid = plt.subplots(1, len(names), figsize=(9, 4.6), sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.06)
    for axes, name in zip(grid.flat, names, strict=True):
        for i, (method, label) in enumerate(FAMILIES.items()):
            part = curves[(curves.dataset == name) & (curves.method == method)]
            for name_of, line in part.groupby("title", sort=False):
                look = {"color": COLOURS[i], "ls": ":" if "literal" in name_of else "-"}
                spent, robust = line.F.astype(float), line.robust.astype(float)
                axes.plot(spent, robust, lw=1, alpha=0.45, **look)
                # where a run ends is what it is judged by, and must be seen above the lines
                axes.plot(spent[-1:], robust[-1:], marker=MARKERS[i], ms=7, mec="white", label=label, zorder=3, **look)
        axes.set(xscale="log", title=name, xlabel="passes an image (F)", ylim=(-3, 103))
    grid[0, 0].set_ylabel("accuracy under\nthe monitor's BIM (%)")
    shared_legend(figure, ncols=4)
    sns.despine(figure)
    return figure


def policies(lines: dict[str, dict[str, pd.DataFrame]], *, n2: int) -> Figure:
    """Draw SIM-Adv's robust accuracy by epoch over the share of examples at full strength.

    A row a data set and a column a reset policy.

    Args:
        lines: by data set what :func:`simbook.tables.beyond.policies` makes.
    """
    size = {"figsize": (10, 1.2 + 2.3 * len(lines)), "layout": "constrained"}
    figure, grid = plt.subplots(len(lines), 4, sharex="row", sharey=True, squeeze=False, **size)
    for row, (dataset, each) in zip(grid, lines.items(), strict=True):
        for axes, (reset, line) in zip(row, each.items(), strict=True):
            policy(axes, line)
            if reset in ("cycle", "random"):
                for epoch in range(n2, int(line.epoch.max()), n2):
                    axes.axvline(epoch + 0.5, color="0.45", ls=":", lw=1)
            axes.set(title=f"{dataset}, {reset}", ylim=(-3, 103))
        row[0].set_ylabel("accuracy, share (%)")
    for axes in grid[-1]:
        axes.set_xlabel("epochs trained")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    sns.despine(figure)
    return figure


def policy(axes: Axes, line: pd.DataFrame) -> None:
    """Draw one reset policy: the examples at full strength, clean accuracy, and the robust one over the seeds."""
    full = {"color": "0.85", "lw": 0, "step": "mid", "label": "examples with n1 steps behind them"}
    axes.fill_between(line.epoch, line.full, **full)
    axes.plot(line.epoch, line.clean, color=COLOURS[1], lw=1.2, ls=(0, (5, 1.5)), label="clean accuracy")
    axes.plot(line.epoch, line.robust, color=COLOURS[0], lw=1.3, label="under the monitor's BIM, mean")
    axes.fill_between(line.epoch, line.low, line.high, color=COLOURS[0], alpha=0.3, lw=0, label="range of the seeds")
    if line.robust.isna().all():
        axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)


def staleness(lines: pd.DataFrame, *, title: str) -> Figure:
    """Draw the share of signs that were still right an epoch later, by epoch; 50 % is chance.

    Args:
        lines: as :func:`simbook.tables.beyond.staleness` makes them.
    """
    if lines.empty:
        return nothing_yet(title)
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for i, ((dataset, name), line) in enumerate(lines.groupby(["dataset", "title"], sort=False)):
        for column, style in (("pixels", "-"), ("weighted", "--")):
            label = f"{dataset}, {name}, {'by size' if column == 'weighted' else 'each pixel once'}"
            axes.plot(
                line.epoch, line[column], style, color=COLOURS[i % 10], marker=MARKERS[i % 10], ms=3.5, label=label
            )
    axes.axhline(50, color="0.45", ls=":", lw=1)
    axes.set(title=title, xlabel="epoch", ylabel="signs still right (%)", ylim=(None, 101))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2)
    sns.despine(figure)
    return figure


def radii(nets: pd.DataFrame, *, title: str) -> Figure:
    """Draw accuracy under BIM against epsilon, from 0 to twice that of training, a panel a data set.

    Args:
        nets: as :func:`simbook.tables.survival.survivors` makes them.
    """
    there = nets[nets.iterated.notna()]
    if there.empty:
        return nothing_yet(title)
    names, titles = list(there.dataset.unique()), list(there.title.unique())  # a net looks the same in every panel
    figure, grid = plt.subplots(1, len(names), figsize=(9, 4.4), sharey=True, squeeze=False, layout="constrained")
    for axes, name in zip(grid.flat, names, strict=True):
        for row in there[there.dataset == name].itertuples():
            i = titles.index(row.title)
            look = {"color": COLOURS[i % 10], "marker": MARKERS[i % 10], "ls": ("-", "--", ":")[i // 10 % 3]}
            axes.plot([0, *RADII], [row.clean, *row.at], ms=4, lw=1.3, label=row.title, **look)
        axes.axvline(1, color="0.45", ls=":", lw=1)
        axes.set(title=name, xlabel=r"$\epsilon$, in multiples of the one trained with", ylim=(-3, 103))
    grid[0, 0].set_ylabel("accuracy under BIM(10,40) (%)")
    shared_legend(figure, ncols=3)
    sns.despine(figure)
    return figure
