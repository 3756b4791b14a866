r"""The one style of the book's figures: colours, sizes, and the frame that says that nothing was run."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from simbook.tables.common import link_tables

WIDTH = 8.0  # inches of every figure: on a page, its labels are as large as the text beside it
SMALL = 8.5  # points of a name inside a figure: the least that can be read at the width of a page
# colours that stay apart for colour-blind readers and in print, one for each attack and policy
COLOURS = sns.color_palette("colorblind")
ATTACK_COLOURS = {
    "Original": COLOURS[7],
    "FGSM": COLOURS[1],
    "R+FGSM": COLOURS[4],
    "BIM": COLOURS[0],
    "Madry": COLOURS[2],
}


def style() -> None:
    """Set the book's style: figures on white ground (it shows on dark pages too) at twice the size, tables with a link.

    The link under a table saves it; :func:`simbook.tables.common.download` makes the one under a figure.
    """
    link_tables()
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.9)
    plt.rcParams |= {"figure.dpi": 200, "figure.facecolor": "white", "legend.frameon": False}


def colour(attack: str) -> tuple:
    """Return the colour of an attack whatever its n1 and n2."""
    return ATTACK_COLOURS[attack.split("(")[0]]


def shared_legend(figure: Figure, ncols: int | None = None) -> None:
    """Put one legend below all panels: a panel that lacks a run lacks its line, so it has those of all of them."""
    handles = {}
    for axes in figure.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols or len(handles))


def apart(places: Sequence[float], gap: float, *, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Return places moved as little as it takes that none is nearer than ``gap`` to another, in their order."""
    order, steps = np.argsort(places, kind="stable"), gap * np.arange(len(places))
    moved = np.empty(len(places))
    fitted = isotonic_regression(np.asarray(places, dtype=float)[order] - steps).x
    moved[order] = fitted.clip(low, max(low, high - steps[-1])) + steps
    return moved


def name_points(
    axes: Axes, points: Iterable[tuple[float, float, str, tuple]], *, at: float, low: float = 0.03, high: float = 0.97
) -> None:
    """Write the names of points below each other, each with a thin line to its point: none hides another.

    The limits of the axes must be set before.

    Args:
        points: x and y of each, as the axes have them, its name, and the colour of its line.
        at: where the names begin, as a share of the axes' width; ``low, high`` are the ends of their column.
    """
    points = list(points)
    if not points:
        return
    heights = [(axes.transScale + axes.transLimits).transform((x, y))[1] for x, y, _, _ in points]
    for (x, y, name, line), height in zip(points, apart(heights, 0.062, low=low, high=high), strict=True):
        arrow = {
            "arrowstyle": "-",
            "lw": 0.7,
            "color": line,
            "relpos": (0, 0.5),
            "patchA": None,
            "shrinkA": 2,
            "shrinkB": 2,
        }
        about = {"xytext": (at, height), "textcoords": "axes fraction", "va": "center", "fontsize": SMALL}
        axes.annotate(name, (x, y), arrowprops=arrow, **about)


def nothing_yet(title: str) -> Figure:
    """Draw a frame that says that there is nothing to draw."""
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2), layout="constrained")
    axes.set(xticks=[], yticks=[], title=title)
    axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)
    return figure
