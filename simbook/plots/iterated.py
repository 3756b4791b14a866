r"""The figures of chapters 4.1 and 4.2."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from simbook.plots.style import COLOURS, WIDTH, nothing_yet, shared_legend
from simbook.tables.iterated import AROUND

# a colour for each data set; line and marker tell an undefended net from a robust one
HUES = {"mnist": COLOURS[0], "fmnist": COLOURS[1], "cifar10": COLOURS[2], "digits": COLOURS[4]}
LOOKS = {"vanilla": {"ls": (0, (4, 2)), "marker": "o", "mfc": "white"}, "bim": {"ls": "-", "marker": "s"}}
SHADES = sns.color_palette("viridis", 4)[:3]


def draw(axes: Axes, frame: pd.DataFrame, axis: str, value: str, low: str, high: str) -> None:
    """Draw one line for each net of ``frame``, ``value`` against ``axis``, with its 95 % band."""
    for label, part in frame.groupby("label", sort=False):
        colour = HUES[part.dataset.iloc[0]]
        axes.plot(part[axis], part[value], color=colour, lw=1.4, ms=3.6, label=label, **LOOKS[part.method.iloc[0]])
        axes.fill_between(part[axis], part[low], part[high], color=colour, alpha=0.18, lw=0)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put one legend for all panels under them, with the two nets of a data set above each other."""
    handles, labels = axes.get_legend_handles_labels()
    both = len({label.split(", ")[0] for label in labels}) < len(labels)
    columns = (len(labels) + 1) // 2 if both else len(labels)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def saturation(frame: pd.DataFrame, *, title: str) -> Figure:
    """Draw Fig. 3: rho against n1 = n2, and beside it the error rates that it is the ratio of.

    Args:
        frame: :func:`simbook.tables.curves.frame` with the column ``n``.
    """
    if frame.empty:
        return nothing_yet(title)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4), layout="constrained")
    left.axhspan(0.95, 1.05, color="0.5", alpha=0.15, lw=0)
    left.text(30, 0.93, "grey: within 5 % of 1", ha="right", va="top", size="small", color="0.35")
    left.axvline(AROUND, color="0.35", ls=":", lw=1.2)
    left.text(AROUND + 0.4, 0.03, "the paper: around 5", size="small", color="0.35")
    draw(left, frame, "n", "rho", "rho_low", "rho_high")
    draw(right, frame, "n", "error", "low", "high")
    left.set(ylabel=r"$\rho$ (Eq. 13)", ylim=(0, max(1.08, 1.03 * frame.rho_high.max())))
    right.set(ylabel="error rate under BIM(n,n) (%)", ylim=(-3, 103))
    for axes in (left, right):
        axes.set(xlabel=r"$n = n_1 = n_2$ (0: clean images)", xlim=(-0.7, 30.7), xticks=range(0, 31, 5))
    legend_below(figure, left)
    figure.suptitle(title)
    sns.despine(figure)
    return figure


def intermediate(frame: pd.DataFrame, turning: pd.DataFrame, *, title: str) -> Figure:
    """Draw Fig. 4: rho after each iteration inside one attack, and a zoom on its top with the turning points.

    Args:
        frame: :func:`simbook.tables.curves.frame` with the column ``i``, one curve a net.
        turning: of the same curves, ``turn``, its interval ``low`` and ``high``, and ``rho`` there.
    """
    if frame.empty:
        return nothing_yet(title)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained")
    for n1 in sorted(frame.n1.unique()):
        right.axvline(n1, color="0.4", ls=":", lw=1.2, zorder=1)
    for axes in (left, right):
        draw(axes, frame, "i", "rho", "rho_low", "rho_high")
        axes.set(xlabel="iteration $i$ (0: clean images)", xlim=(-0.7, 30.7), xticks=range(0, 31, 5))
    for row in turning.dropna(subset="turn").itertuples():
        right.plot([row.low, row.high], [row.rho, row.rho], "|-", color="black", lw=1.4, ms=8, mew=1.4, zorder=4)
        right.plot(row.turn, row.rho, "D", ms=7, mfc=HUES[row.dataset], mec="black", mew=1.2, zorder=5)
    right.plot([], [], color="0.4", ls=":", lw=1.2, label="$i = n_1$")
    right.plot([], [], "D", ls="-", color="black", ms=7, mfc="0.8", mec="black", mew=1.2, label="turning point, 95 %")
    right.set(ylim=(0.6, 1.03), title="The top, with the turning points")
    left.set(ylabel=r"$\rho$ (Eq. 13)", ylim=(0, 1.05), title="All of it")
    legend_below(figure, right)
    figure.suptitle(title)
    sns.despine(figure)
    return figure


def by_step_size(frame: pd.DataFrame, turning: pd.DataFrame, *, title: str) -> Figure:
    """Draw attacks of three step sizes: rho against the iteration, and errors against the share of epsilon allowed.

    The denominator of rho is another for each step size, so only the error rates can fall onto each other.

    Args:
        frame: as for :func:`intermediate`, with all curves of each net; a row of panels for each data set.
        turning: their turning points.
    """
    if frame.empty:
        return nothing_yet(title)
    names = {dataset: part.label.iloc[0].split(", ")[0] for dataset, part in frame.groupby("dataset", sort=False)}
    size = {"figsize": (WIDTH, 1.1 + 2.5 * len(names)), "layout": "constrained"}
    figure, grid = plt.subplots(len(names), 2, sharex="col", squeeze=False, **size)
    for (dataset, name), (left, right) in zip(names.items(), grid, strict=True):
        part = frame[frame.dataset == dataset]
        for shade, n1 in zip(SHADES, sorted(part.n1.unique()), strict=True):
            for method, curve in part[part.n1 == n1].groupby("method", sort=False):
                found = turning[(turning.dataset == dataset) & (turning.method == method) & (turning.n1 == n1)]
                _two_panels(left, right, curve.assign(turn=curve.i.isin(found.turn)), shade)
            left.axvline(n1, color=shade, ls=":", lw=1.2)
        right.axvline(1, color="0.4", ls=":", lw=1.2)
        left.set(ylabel=f"{name}\n" + r"$\rho$", xlim=(-0.7, 30.7), ylim=(0, 1.08), xticks=range(0, 31, 5))
        # on this axis an exponential is a straight line, and a net with few errors is not pressed to the ground
        right.set(ylabel="error rate (%, log)", xlim=(-0.07, 3.07), yscale="log")
        right.yaxis.set_major_locator(FixedLocator([0.5, 1, 2, 5, 10, 20, 50, 100]))
        right.yaxis.set_minor_locator(NullLocator())
        right.yaxis.set_major_formatter("{x:g}")
    grid[-1, 0].set(xlabel="iteration $i$")
    grid[-1, 1].set(xlabel=r"$i / n_1$ (up to 1: the share of $\epsilon$ allowed so far)")
    shared_legend(figure, ncols=3)
    figure.suptitle(title)
    sns.despine(figure)
    return figure


def _two_panels(left: Axes, right: Axes, curve: pd.DataFrame, shade: tuple) -> None:
    """Draw a curve's rho and error rates, each with a diamond at its turning point."""
    n1, look = curve.n1.iloc[0], LOOKS[curve.method.iloc[0]]
    label, at = f"{curve.net.iloc[0]}, $n_1 = {n1:g}$", curve[curve.turn]
    for axes, scale, value in ((left, 1, "rho"), (right, n1, "error")):
        axes.plot(curve.i / scale, curve[value], color=shade, lw=1.3, ms=3, label=label, **look)
        axes.plot(at.i / scale, at[value], "D", ms=7, mfc=shade, mec="black", mew=1.2, zorder=5)
