r"""The figures of chapter 5 beside its diagrams and t-SNE."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from simbook.plots.style import COLOURS, WIDTH, colour, nothing_yet, shared_legend
from simbook.tables.common import named

EXAMPLE = "trained on"
ROBUST, CLEAN, REACH = COLOURS[0], COLOURS[1], "0.85"
POLICIES = ("cycle", "staggered")


def resets(axes: Axes, n2: int, last: int) -> None:
    """Mark the epochs after which every example starts afresh."""
    for epoch in range(n2, last, n2):
        axes.axvline(epoch + 0.5, color="0.45", ls=":", lw=1)


def sawtooth(seen: pd.DataFrame, *, labels: dict[tuple[str, float], str]) -> Figure:
    """Draw small multiples: a row a data set and rate, a column a reset policy; a pair with no run is left out.

    Args:
        seen: as :func:`simbook.tables.sim_adv.watched` makes it.
        labels: what stands beside a row, by data set and rate, in the order of the rows.
    """
    there = seen.set_index(["dataset", "lr"]).index
    rows = [key for key in labels if key in there]
    if not rows:
        return nothing_yet("SIM-Adv, epoch by epoch")
    size = (WIDTH, 0.9 + 2 * len(rows))
    figure, grid = plt.subplots(len(rows), 2, figsize=size, sharex="row", sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.05)
    for (dataset, lr), pair in zip(rows, grid, strict=True):
        part = seen[(seen.dataset == dataset) & (seen.lr == lr)]
        for axes, policy in zip(pair, POLICIES, strict=True):
            _epochs(axes, part[part.reset == policy], cycle=policy == "cycle")
            axes.set_title(f"{labels[dataset, lr]}, {policy}", fontsize=10.5)
        pair[0].set_ylabel("accuracy, reach (%)")
    for axes in grid[-1]:
        axes.set_xlabel("epochs trained")
    handles = [
        plt.Line2D([], [], color=ROBUST, marker="o", ms=3, lw=1.4, label="accuracy under the monitor's BIM"),
        plt.Line2D([], [], color=CLEAN, lw=1.4, ls=(0, (5, 1.5)), label="clean accuracy"),
        plt.Rectangle((0, 0), 1, 1, color=REACH, lw=0, label=r"mean reach of the examples (% of $\epsilon$, at most)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    sns.despine(figure)
    return figure


def _epochs(axes: Axes, line: pd.DataFrame, *, cycle: bool) -> None:
    """Draw one run: accuracies as lines over the arithmetic reach of its examples."""
    axes.set(ylim=(-3, 103), yticks=[0, 25, 50, 75, 100])
    if line.empty:
        axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)
        return
    axes.fill_between(line.epoch, line.farthest, color=REACH, lw=0, step="mid", zorder=0)
    axes.plot(line.epoch, line.clean, color=CLEAN, lw=1.4, ls=(0, (5, 1.5)))
    axes.plot(line.epoch, line.robust, color=ROBUST, marker="o", ms=2.6, lw=1.4)
    if cycle:
        resets(axes, int(line.n2.iloc[0]), int(line.epoch.iloc[-1]))


def over_perturbation(seen: pd.DataFrame, *, title: str) -> Figure:
    """Draw robust accuracy by epoch of SIM-Adv without and with over-perturbation, a panel a data set.

    Args:
        seen: rows of :func:`simbook.tables.sim_adv.watched`.
    """
    if seen.empty:
        return nothing_yet(title)
    names = list(seen.dataset.unique())
    figure, grid = plt.subplots(1, len(names), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.06)
    looks = {False: {"color": COLOURS[1], "marker": "s", "ls": "--"}, True: {"color": COLOURS[0], "marker": "o"}}
    for axes, name in zip(grid.flat, names, strict=True):
        for label, line in seen[seen.dataset == name].groupby("title", sort=False):
            over = bool((line.n2 > line.n1).iloc[0])
            kind = "over-perturbation" if over else "without"
            axes.plot(line.epoch, line.robust, ms=3, lw=1.4, label=f"{label} ({kind})", **looks[over])
        axes.set(title=named(name), xlabel="epochs trained", ylim=(-3, 103))
    grid[0, 0].set_ylabel("accuracy under\nthe monitor's BIM (%)")
    shared_legend(figure)
    sns.despine(figure)
    return figure


def by_n1(points: pd.DataFrame, *, title: str) -> Figure:
    """Draw Fig. 7: Madry-Adv's accuracy by n1, a panel a data set; to the right the steps are longer.

    Where fewer than two n1 were run there is no curve, and no range of accuracy to look closer at: it goes from 0 to
    100 %, and the panel says what was run.

    Args:
        points: as :func:`simbook.tables.sim_adv.fig7` makes them.
    """
    if points.true.isna().all():
        return nothing_yet(title)
    names = list(points.dataset.unique())
    figure, grid = plt.subplots(1, len(names), figsize=(WIDTH, 3.4), squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.06)
    for axes, name in zip(grid.flat, names, strict=True):
        part = points[points.dataset == name]
        for beside, (attack, line) in zip((0.15, -0.15), part.groupby("attack", sort=False), strict=True):
            bars = [line.true - line.low, line.high - line.true]
            look = {"marker": "o" if attack.startswith("BIM") else "s", "ms": 5, "lw": 1.5, "color": colour(attack)}
            axes.errorbar(line.n1 + beside, line.true, bars, label=f"under {attack}", **look)
        steps, n2 = sorted(part.n1.unique()), int(part.n2.iloc[0])
        axes.set(xlabel=rf"$n_1$ of Madry($n_1$,{n2})-Adv", xticks=steps, title=named(name))
        axes.set_xlim(steps[-1] + 2, steps[0] - 2)
        _not_run(axes, part)
    grid[0, 0].set_ylabel("test accuracy (%)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    sns.despine(figure)
    return figure


def _not_run(axes: Axes, part: pd.DataFrame) -> None:
    """Say in a panel of :func:`by_n1` which n1 were not run; where hardly any was, in a sentence."""
    steps, run = part.n1.unique(), part[part.true.notna()].n1.unique()
    if len(run) > 1:
        for n1 in sorted(set(steps) - set(run)):
            about = {"ha": "center", "va": "center", "rotation": 90, "color": "0.4"}
            axes.text(n1, 0.5, "not run", transform=axes.get_xaxis_transform(), **about)
        return
    axes.set(ylim=(-3, 103), yticks=[0, 25, 50, 75, 100])
    said = f"{len(run)} of {len(steps)} was run: $n_1$ = {run[0]:g}" if len(run) else f"none of {len(steps)} was run"
    about = {"ha": "center", "va": "center", "color": "0.3", "bbox": {"fc": "white", "ec": "none"}}
    axes.text(0.5, 0.5, said, transform=axes.transAxes, **about)


def search_space(places: pd.DataFrame, *, methods: list[str], n1: int) -> Figure:
    """Draw Fig. 8 as measured: for each method the ball, and how many of its examples were at each place of the mesh.

    Args:
        places: as :func:`simbook.measures.search_space.search_spaces` counts them.
        methods: of the panels, in their order.
        n1: the mesh has 2 n1 + 1 places a side.
    """
    columns = 3
    rows = -(-len(methods) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, 2.7 * rows), sharex=True, sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.05)
    for letter, axes, method in zip("abcdefgh", grid.flat, methods, strict=False):
        drawn = _ball(axes, places[places.method == method], n1)
        axes.set_title(f"({letter}) {method}", fontsize=10.5)
    for axes in grid[-1]:
        axes.set_xlabel(r"first pixel's change ($\epsilon$)")
    for axes in grid[:, 0]:
        axes.set_ylabel(r"second pixel's change ($\epsilon$)")
    figure.colorbar(drawn, ax=grid, label="share of the examples (%)", shrink=0.7, pad=0.02, format="%g")
    return figure


def _ball(axes: Axes, part: pd.DataFrame, n1: int):
    """Draw one method's examples in the ball, and as dots the places that its search passed on the way."""
    side = 2 * n1 + 1
    table = np.zeros((side, side))
    examples = part[part.kind == EXAMPLE]
    np.add.at(table, (examples.v.to_numpy() + n1, examples.u.to_numpy() + n1), examples["count"].to_numpy())
    share = np.ma.masked_equal(100 * table / table.sum(), 0)
    edges = (np.arange(side + 1) - n1 - 0.5) / n1
    norm, shades = LogNorm(0.01, 30), sns.color_palette("crest", as_cmap=True)
    way = part[part.kind != EXAMPLE].drop_duplicates(["u", "v"])
    axes.scatter(way.u / n1, way.v / n1, s=2.5, color="0.55", lw=0)
    drawn = axes.pcolormesh(edges, edges, share, norm=norm, cmap=shades, zorder=2)
    reach = 1 + 0.5 / n1
    axes.add_patch(plt.Rectangle((-reach, -reach), 2 * reach, 2 * reach, fill=False, ec="0.3", lw=1.1, zorder=3))
    axes.plot(0, 0, "+", color="black", ms=8, mew=1.2, zorder=4)
    axes.set(xlim=(-1.16, 1.16), ylim=(-1.16, 1.16), xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal")
    axes.grid(False)
    sns.despine(ax=axes, left=True, bottom=True)
    return drawn


def surface(measured: pd.DataFrame, bounds: dict[str, pd.DataFrame]) -> Figure:
    """Draw the share of each epoch's examples that are at full epsilon, measured, and what arithmetic allows.

    Args:
        measured: ``method, epoch, share`` (%), as :func:`simbook.tables.search_space.at_full` makes it.
        bounds: for each panel, a method, what :func:`simbook.tables.sim_adv.reach` says of it.
    """
    figure, panels = plt.subplots(1, len(bounds), figsize=(WIDTH, 3), sharey=True, squeeze=False, layout="constrained")
    for axes, (method, bound) in zip(panels.flat, bounds.items(), strict=True):
        line = measured[measured.method == method]
        axes.fill_between(bound.epoch, bound.full, color=REACH, lw=0, step="mid", label="possible by arithmetic")
        axes.plot(line.epoch, line.share, color=ROBUST, marker="o", ms=2.6, lw=1.4, label="measured")
        axes.set(title=method, xlabel="epochs trained", ylim=(-3, 103))
    panels[0, 0].set_ylabel("examples at full\n" + r"$\epsilon$ in a pixel (%)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    sns.despine(figure)
    return figure
