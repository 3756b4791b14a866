r"""Figs. 5 and 6 as diagrams: how examples and weights flow from one epoch to the next."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from simbook.plots.style import COLOURS, WIDTH

# the middles of the four columns of boxes, and half their widths and heights
X_HAT, GENERATOR, X_TILDE, CLASSIFIER = 1.75, 4.35, 7.05, 9.75
HALF_WIDTH, HALF_HEIGHT = 0.95, 0.32
PITCH, LATER = 1.5, 0.35  # from row to row, and more where epochs are left out
DATA, WEIGHTS, CARRIED = "0.15", COLOURS[3], COLOURS[0]
FILLS = {X_HAT: "0.95", GENERATOR: "#fdf1dc", X_TILDE: "0.95", CLASSIFIER: "#e3f1ea"}
LINES = {DATA: {"lw": 1.3, "ls": "-"}, WEIGHTS: {"lw": 1.4, "ls": (0, (4, 2.5))}, CARRIED: {"lw": 2.4, "ls": "-"}}


@dataclass(frozen=True)
class Epoch:
    """One row of a diagram.

    Args:
        name: what stands on its left.
        step: what the generator does.
        source: ``original`` if the generator starts from the image, ``carried`` if from the last epoch's example.
        weights: the classifier's after the epoch.
    """

    name: str
    step: str
    source: str
    weights: str


def per_epoch(step: str) -> list[Epoch]:
    """Return the rows of Fig. 5: every epoch starts from the original images."""
    return [Epoch(f"epoch {name}", step, "original", rf"$\theta_{{{name}}}$") for name in ("1", "2", "3")]


def across_epochs(n2: int) -> list[Epoch]:
    """Return the rows of Fig. 6: a step an epoch from where the last one ended, until the reset after n2."""
    step = "generator:\n" + r"one step of $\epsilon/n_1$"
    rows = [("1", "original"), ("2", "carried"), (str(n2), "carried"), (str(n2 + 1), "original")]
    return [Epoch(f"epoch {name}", step, source, rf"$\theta_{{{name}}}$") for name, source in rows]


def training(rows: list[Epoch], *, left_out: tuple[int, str] | None = None) -> Figure:
    """Draw a training process, an epoch a row.

    Args:
        left_out: the row before which epochs are left out, and what is written there.
    """
    gap, said = left_out or (len(rows), "")
    levels = [-PITCH * i - LATER * (i >= gap) for i in range(len(rows))]
    width, height = 11.35, 1.2 - levels[-1]
    figure, axes = plt.subplots(figsize=(WIDTH, WIDTH * height / width + 0.3), layout="constrained")
    carried = any(row.source == "carried" for row in rows)
    for i, (row, y) in enumerate(zip(rows, levels, strict=True)):
        _row(axes, row, y, reset=i > 0 and carried and row.source == "original")
        if i:
            _between(axes, row, levels[i - 1], y)
    if said:
        axes.text(-0.5, (levels[gap - 1] + levels[gap]) / 2, said, va="center", fontsize=9.5, color="0.35")
    axes.set(xlim=(-0.55, width - 0.55), ylim=(levels[-1] - 0.5, 0.7))
    axes.set_axis_off()
    _legend(figure, carried=carried)
    return figure


def _row(axes: Axes, row: Epoch, y: float, *, reset: bool) -> None:
    """Draw one epoch: its four boxes and the data that flow through them."""
    axes.text(-0.5, y, row.name, ha="left", va="center", fontsize=10, weight="bold")
    texts = {
        X_HAT: "original\n" + r"examples $\hat{x}$",
        GENERATOR: row.step,
        X_TILDE: "adversarial\n" + r"examples $\tilde{x}$",
        CLASSIFIER: "classifier\n" + row.weights,
    }
    for x, text in texts.items():
        corner = (x - HALF_WIDTH, y - HALF_HEIGHT)
        size = (2 * HALF_WIDTH, 2 * HALF_HEIGHT)
        style = "round,pad=0,rounding_size=0.12"
        axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, fc=FILLS[x], ec="0.35", lw=1))
        axes.text(x, y, text, ha="center", va="center", fontsize=9.5, linespacing=1.15)
    if row.source == "original":
        _arrow(axes, (X_HAT + HALF_WIDTH, y), (GENERATOR - HALF_WIDTH, y), DATA)
        if reset:
            at = ((X_HAT + GENERATOR) / 2, y + 0.1)
            axes.text(*at, "reset", ha="center", va="bottom", fontsize=9.5, weight="bold")
    _arrow(axes, (GENERATOR + HALF_WIDTH, y), (X_TILDE - HALF_WIDTH, y), DATA)
    _arrow(axes, (X_TILDE + HALF_WIDTH, y), (CLASSIFIER - HALF_WIDTH, y), DATA)
    # the originals train the classifier too: over the boxes between them
    over = y + HALF_HEIGHT + 0.2
    way = [(X_HAT, y + HALF_HEIGHT), (X_HAT, over), (CLASSIFIER - 0.35, over)]
    axes.plot(*zip(*way, strict=True), color=DATA, solid_capstyle="butt", **LINES[DATA])
    _arrow(axes, way[-1], (CLASSIFIER - 0.35, y + HALF_HEIGHT), DATA)


def _between(axes: Axes, row: Epoch, above: float, y: float) -> None:
    """Draw what goes from one epoch to the next: weights, and with SIM-Adv the examples."""
    bottom, top = above - HALF_HEIGHT, y + HALF_HEIGHT
    start, end, level = CLASSIFIER + 0.35, GENERATOR + 0.4, top + 0.42
    _arrow(axes, (start, bottom), (start, top), WEIGHTS)  # straight down, to be trained further
    axes.plot([start, end], [level, level], color=WEIGHTS, **LINES[WEIGHTS])
    _arrow(axes, (end, level), (end, top), WEIGHTS)
    if row.source == "carried":
        end, level = GENERATOR - 0.4, bottom - 0.22
        way = [(X_TILDE, bottom), (X_TILDE, level), (end, level)]
        axes.plot(*zip(*way, strict=True), color=CARRIED, solid_capstyle="butt", **LINES[CARRIED])
        _arrow(axes, way[-1], (end, top), CARRIED)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour) -> None:
    """Draw an arrow whose tip touches ``end``."""
    look = {"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, color=colour, **look, **LINES[colour]))


def _legend(figure: Figure, *, carried: bool) -> None:
    """Say below what the three kinds of arrows are."""
    names = {DATA: "training examples", WEIGHTS: "weights, to the next epoch"}
    names |= {CARRIED: "adversarial examples, to the next epoch"} if carried else {}
    handles = [plt.Line2D([], [], color=colour, label=name, **LINES[colour]) for colour, name in names.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=3)
