r"""The one style of the book's figures: colours, sizes, and the frame that says that nothing was run."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from simbook.tables.common import link_tables

WIDTH = 8.0  # inches of every figure: on a page, its labels are as large as the text beside it
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


def nothing_yet(title: str) -> Figure:
    """Draw a frame that says that there is nothing to draw."""
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2), layout="constrained")
    axes.set(xticks=[], yticks=[], title=title)
    axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)
    return figure
