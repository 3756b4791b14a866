r"""The figures of chapter 7: accuracy against passes, reset policies, stale gradients, and larger balls."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from simbook.measures.survival import RADII
from simbook.plots.style import COLOURS, nothing_yet, shared_legend
from simbook.tables.common import named

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
# a colour and a marker each; SIM-Adv's resets apart
FAMILIES = ("SIM-Adv", "SIM-Adv, no reset", "SIM-Adv, other resets", "SIM-Adv, k steps", "free-SIM", "ATTA-1")
FAMILIES += ("FGSM-MEP", "RS-FGSM, N-FGSM", "BIM-Adv", "Vanilla, Free-Adv")
SHOWN = (0.05, 0.95)  # the shares that an axis of odds has room for


def family(method: str, reset: str | None) -> str:
    """Return which of :data:`FAMILIES` a run belongs to."""
    of_sim = {"cycle": "SIM-Adv", "never": "SIM-Adv, no reset"}
    others = {
        "sim-k": "SIM-Adv, k steps",
        "free-sim": "free-SIM",
        "atta": "ATTA-1",
        "mep": "FGSM-MEP",
        "bim": "BIM-Adv",
    }
    others |= dict.fromkeys(("rs-fgsm", "n-fgsm"), "RS-FGSM, N-FGSM")
    others |= dict.fromkeys(("vanilla", "free"), "Vanilla, Free-Adv")
    return of_sim.get(reset, "SIM-Adv, other resets") if method == "sim" else others[method]


def passes(curves: pd.DataFrame, *, title: str) -> Figure:
    """Draw robust accuracy against the passes spent: a panel a data set, a colour and marker a family, a line a run.

    A line is at each epoch the mean of the last :data:`simbook.tables.beyond.LATE`; the marker is where it ends. The
    axis is one of odds, so that 80 and 90 % are as far apart as 20 and 10 %; what is trained by Eq. 15 as printed is
    left out.

    Args:
        curves: as :func:`simbook.tables.beyond.curves` makes them.
    """
    if curves.empty:
        return nothing_yet(title)
    names = list(curves.dataset.unique())
    figure, grid = plt.subplots(1, len(names), figsize=(9, 6), sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.06)
    for axes, name in zip(grid.flat, names, strict=True):
        there = curves[curves.dataset.eq(name) & curves.projection.ne("literal")]
        for _, line in there.groupby("title", sort=False):
            spent(axes, line)
        axes.set(xscale="log", yscale="logit", ylim=SHOWN, title=named(name), xlabel="passes an image (F)")
        axes.yaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
        axes.yaxis.set_minor_locator(NullLocator())
    grid[0, 0].set_ylabel("accuracy under\nthe monitor's BIM (%)")
    shared_legend(figure, ncols=3)
    sns.despine(figure)
    return figure


def spent(axes: Axes, line: pd.DataFrame) -> None:
    """Draw one run of :func:`passes`: its line, and above all lines where it ends."""
    label = family(line.method.iloc[0], line.reset.iloc[0])
    i = FAMILIES.index(label)
    share = (line.robust.astype(float).rolling(line.late.iloc[0], min_periods=1).mean() / 100).clip(*SHOWN)
    axes.plot(line.F.astype(float), share, lw=1.1, alpha=0.45, color=COLOURS[i])
    look = {"color": COLOURS[i], "marker": MARKERS[i], "ls": "", "mec": "white", "zorder": 3, "clip_on": False}
    axes.plot(line.F.astype(float)[-1:], share[-1:], ms=8, label=label, **look)


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
            axes.set(title=f"{named(dataset)}, {reset}", ylim=(-3, 103))
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
    names, titles = list(lines.dataset.unique()), list(lines.title.unique())  # a net looks the same in every panel
    figure, grid = plt.subplots(1, len(names), figsize=(9, 4.2), sharey=True, squeeze=False, layout="constrained")
    for axes, name in zip(grid.flat, names, strict=True):
        for title_of, line in lines[lines.dataset == name].groupby("title", sort=False):
            i = titles.index(title_of)
            look = {"color": COLOURS[i % 10], "marker": MARKERS[i % 10], "ms": 3.5}
            axes.plot(line.epoch, line.pixels, "-", label=title_of, **look)
            axes.plot(line.epoch, line.weighted, "--", **look)
        axes.plot([], [], "-", color="0.3", label="each pixel once")
        axes.plot([], [], "--", color="0.3", label="by the size of the fresh gradient")
        axes.axhline(50, color="0.45", ls=":", lw=1)
        axes.set(title=named(name), xlabel="epoch", ylim=(None, 101))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    grid[0, 0].set_ylabel("signs still right (%)")
    shared_legend(figure, ncols=3)
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
        axes.set(title=named(name), xlabel=r"$\epsilon$, in multiples of the one trained with", ylim=(-3, 103))
    grid[0, 0].set_ylabel("accuracy under BIM(10,40) (%)")
    shared_legend(figure, ncols=3)
    sns.despine(figure)
    return figure
