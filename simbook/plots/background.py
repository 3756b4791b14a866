r"""The figures of chapter 2."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from simbook.plots.style import COLOURS, WIDTH, colour, nothing_yet

SIGNED = "RdBu_r"
# BIM and Madry often end together: the wide line of the one shows under the narrow one of the other
LOOKS = {"FGSM": ("s", 5, 1.4), "R+FGSM": ("D", 5, 1.4), "BIM(10,40)": ("o", 8, 2.8), "Madry(10,40)": ("^", 4, 1.2)}
# inches: of the gallery's page, of a picture, and of the words under it, beside it and above it
GAP, WORDS, HEAD, NET, BAR = 0.13, 0.36, 0.3, 0.3, 0.62


def as_picture(pixels: np.ndarray) -> np.ndarray:
    """Return ``(C, H, W)`` as matplotlib wants it: grey as three channels."""
    return np.broadcast_to(np.moveaxis(pixels, 0, 2), (*pixels.shape[1:], 3))


def perturbation(row: pd.Series, original: pd.Series) -> np.ndarray:
    """Return the change of an image in units of epsilon, ``(H, W)``, the mean of its channels."""
    return (row.pixels - original.pixels).mean(0) / row.epsilon


class Page:
    """A figure of fixed width on which axes are put by inches from the upper left corner."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = plt.figure(figsize=(WIDTH, height))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes whose upper left corner is there."""
        bottom = self.height - top - height
        return self.figure.add_axes((left / WIDTH, bottom / self.height, width / WIDTH, height / self.height))

    def write(self, left: float, top: float, words: str, **style) -> None:
        """Write words whose anchor is there."""
        self.figure.text(left / WIDTH, 1 - top / self.height, words, **style)


def gallery(frame: pd.DataFrame, *, attacks: tuple[str, ...], rows: int, title: str) -> Figure:
    """Draw images under attack: for each attack the perturbation, the example, and what the net says of it.

    Args:
        frame: rows of :func:`simbook.tables.background.pictures`.
        rows: images of each net at most.
    """
    if frame.empty:
        return nothing_yet(title)
    shown = {net: list(part.image.unique()[:rows]) for net, part in frame.groupby("net", sort=False)}
    tile = (WIDTH - 0.1 - len(attacks) * GAP) / (2 * len(attacks) + 1)
    page = Page(HEAD + BAR + len(shown) * NET + sum(map(len, shown.values())) * (tile + WORDS))
    lefts = [0.05 + tile + GAP + i * (2 * tile + GAP) for i in range(len(attacks))]
    for left, attack in zip(lefts, attacks, strict=True):
        page.write(left + tile, 0.6 * HEAD, attack, ha="center", va="center", weight="bold", size=10)
    top = HEAD
    for net, images in shown.items():
        page.write(0.05, top + 0.5 * NET, net, va="center", size=10)
        top += NET
        for image in images:
            part = frame[(frame.net == net) & (frame.image == image)].set_index("attack")
            row_of_pictures(page, part, attacks, [0.05, *lefts], top, tile)
            top += tile + WORDS
    bar = page.axes(WIDTH / 4, top + 0.05, WIDTH / 2, 0.12)
    scale = page.figure.colorbar(ScalarMappable(Normalize(-1, 1), SIGNED), cax=bar, orientation="horizontal")
    scale.set_label("change of a pixel, in units of $\\epsilon$", size=9)
    scale.ax.tick_params(labelsize=9)
    scale.set_ticks([-1, -0.5, 0, 0.5, 1])
    return page.figure


def row_of_pictures(page: Page, part: pd.DataFrame, attacks, lefts: list[float], top: float, tile: float) -> None:
    """Put one image, and for each attack perturbation and example, side by side, with the words under them."""
    original = part.loc["Original"]
    for left, name in zip(lefts, ("Original", *attacks), strict=True):
        row = part.loc[name]
        if name != "Original":
            axes = page.axes(left, top, tile - 0.02, tile - 0.02)
            axes.imshow(perturbation(row, original), cmap=SIGNED, vmin=-1, vmax=1)
            bare(axes)
            left += tile
        axes = page.axes(left, top, tile - 0.02, tile - 0.02)
        axes.imshow(as_picture(row.pixels))
        bare(axes)
        said = {"size": 8.5, "ha": "center", "va": "top", "linespacing": 1.05}
        said |= {"color": COLOURS[3], "weight": "bold"} if row.fooled else {}
        page.write(left + tile / 2, top + tile, f"{row.predicted}\n{row.confidence:.1f} %", **said)


def bare(axes: Axes) -> None:
    """Leave a thin frame around a picture, and no ticks."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color="0.7", linewidth=0.6)


def panels(nets: list[str], *, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each net, at most three in a row; four in two rows."""
    columns = 2 if len(nets) == 4 else min(len(nets), 3)
    rows = -(-len(nets) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, height * rows), layout="constrained", squeeze=False)
    for axes in grid.flat[len(nets) :]:
        axes.remove()
    return figure, list(grid.flat[: len(nets)])


def label_rows(grid: list[Axes], text: str) -> None:
    """Put a label at the left of each row of panels."""
    for axes in grid:
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(text)


def named(figure: Figure | SubFigure, axes: Axes, *, columns: int) -> None:
    """Put one legend for all panels under them."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def strength(frame: pd.DataFrame, *, title: str) -> Figure:
    """Draw accuracy against the size of the perturbation, a line an attack, a panel a net.

    Args:
        frame: rows of :func:`simbook.tables.background.strength`.
    """
    if frame.empty:
        return nothing_yet(title)
    nets = list(frame.net.unique())
    figure, grid = panels(nets, height=3.6)
    for axes, net in zip(grid, nets, strict=True):
        part = frame[frame.net == net]
        clean = part[part.attack == "Original"].iloc[:1].assign(share=0.0)
        for attack, (marker, size, width) in LOOKS.items():
            line = pd.concat([clean, part[part.attack == attack]])
            error = [line.accuracy - line.low, line.high - line.accuracy]
            look = {"marker": marker, "ms": size, "lw": width, "capsize": 2, "elinewidth": 1}
            axes.errorbar(line.share, line.accuracy, yerr=error, color=colour(attack), label=attack, **look)
        axes.set(
            ylim=(-3, 103), title=f"{net}, $\\epsilon = {part.epsilon.iloc[0]:.3g}$", xticks=[0, 0.25, 0.5, 0.75, 1]
        )
        axes.set(xlabel="perturbation (shares of $\\epsilon$)")
    label_rows(grid, "accuracy (%)")
    named(figure, grid[0], columns=4)
    sns.despine(figure)
    return figure


def climb(path: pd.DataFrame, power: pd.DataFrame, *, rule: str, n1: int, title: str) -> Figure:
    """Draw the loss after each step of BIM, with its quartiles, and where the single-step attacks end.

    Args:
        path, power: rows of :func:`simbook.tables.background.steps` and of ``strength``.
        rule: the reading of Eq. 3 that is drawn.
        n1: after so many steps a pixel can have reached epsilon.
    """
    if path.empty:
        return nothing_yet(title)
    nets = list(path.net.unique())
    figure, grid = panels(nets, height=3.6)
    for axes, net in zip(grid, nets, strict=True):
        line = path[(path.net == net) & (path.rule == rule)]
        axes.fill_between(
            line.step, line.loss_low, line.loss_high, color=COLOURS[0], alpha=0.2, lw=0, label="quartiles"
        )
        axes.plot(line.step, line.loss, "o-", ms=3, lw=1.4, color=COLOURS[0], label="BIM(10,40), mean")
        for attack, dashes in (("FGSM", "--"), ("R+FGSM", "-.")):
            end = power[(power.net == net) & (power.attack == attack) & (power.share == 1)].loss.item()
            axes.axhline(end, color=colour(attack), ls=dashes, lw=1.4, label=f"{attack}, mean")
        axes.axvline(n1, color="grey", ls=":", lw=1.2, label="$n_1$ steps")
        axes.set(xlabel="step", title=net, xlim=(-0.5, line.step.max() + 0.5), ylim=(0, None))
    label_rows(grid, "cross-entropy (nats)")
    named(figure, grid[0], columns=5)
    sns.despine(figure)
    return figure


def ball(path: pd.DataFrame, frame: pd.DataFrame, *, examples: dict[str, str], title: str) -> Figure:
    """Draw both readings of Eq. 3: distance and accuracy by step, and one image at the end of each; a row a net.

    Args:
        path, frame: rows of :func:`simbook.tables.background.steps` and of ``pictures``.
        examples: the attack of ``frame`` that shows each reading.
    """
    if path.empty:
        return nothing_yet(title)
    nets = list(path.net.unique())
    figure = plt.figure(figsize=(WIDTH, 0.4 + 2.8 * len(nets)), layout="constrained")
    grid = figure.add_gridspec(2 * len(nets), 3, width_ratios=[3, 3, 1.25])
    for row, net in enumerate(nets):
        drawn = [figure.add_subplot(grid[2 * row : 2 * row + 2, i]) for i in (0, 1)]
        lines(drawn, path[path.net == net])
        drawn[0].set_title(net, size=11)
        shown = frame[frame.net == net]
        for i, (rule, attack) in enumerate(examples.items()):
            axes = figure.add_subplot(grid[2 * row + i, 2])
            first = shown[shown.attack == attack].iloc[:1]
            if first.empty:
                axes.set_axis_off()
            else:
                bare(axes)
                axes.imshow(as_picture(first.pixels.item()))
                axes.set_title(f"{rule}, {first.distance.item():.2f} $\\epsilon$", size=9)
    named(figure, drawn[0], columns=3)
    return figure


def lines(panels: list[Axes], part: pd.DataFrame) -> None:
    """Draw distance and accuracy by step under both readings of Eq. 3."""
    looks = zip(part.rule.unique(), (("-", COLOURS[0]), ("--", COLOURS[3])), strict=True)
    for rule, (dashes, hue) in looks:
        line = part[part.rule == rule]
        for axes, kind in zip(panels, ("distance", "accuracy"), strict=True):
            axes.plot(line.step, line[kind], dashes, lw=2, color=hue, label=rule)
    panels[0].axhline(1, color="grey", ls=":", lw=1.2, label="the bound, $\\epsilon$")
    panels[0].set(xlabel="step", ylabel="distance (units of $\\epsilon$)", ylim=(0, None))
    panels[1].set(xlabel="step", ylabel="accuracy (%)", ylim=(-3, 103))
    for axes in panels:
        axes.set(xlim=(0, part.step.max()))
        sns.despine(ax=axes)


def boundaries(points: pd.DataFrame, nets: dict[str, tuple[float, float, float]], *, epsilon: float) -> Figure:
    """Draw images of two pixels, the line on which each linear net is undecided, and the ball in the middle of a class.

    Args:
        points: ``first, second`` (pixels) and ``label`` (0 or 1).
        nets: name to ``a, b, c`` of the line ``a * first + b * second + c = 0``.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
    for label, marker in ((0, "o"), (1, "^")):
        part = points[points.label == label]
        look = {"marker": marker, "s": 22, "color": COLOURS[2 * label], "alpha": 0.75, "lw": 0}
        axes.scatter(part["first"], part["second"], label=f"class {label}", **look)
    first = np.linspace(0, 1, 101)
    for (name, (a, b, c)), (dashes, hue) in zip(nets.items(), (("--", COLOURS[3]), ("-", "black")), strict=True):
        # a steep line is drawn as first pixel over second
        across = abs(a) > abs(b)
        other = -(b * first + c) / a if across else -(a * first + c) / b
        axes.plot(*((other, first) if across else (first, other)), dashes, color=hue, lw=1.8, label=f"{name}: boundary")
    for i, label in enumerate((0, 1)):
        centre = points[points.label == label].median()
        corner = (centre["first"] - epsilon, centre["second"] - epsilon)
        look = {"fill": False, "ec": "0.25", "ls": ":", "lw": 1.6, "label": None if i else "$\\epsilon$-ball"}
        axes.add_patch(Rectangle(corner, 2 * epsilon, 2 * epsilon, **look))
    axes.set(xlim=(0, 1), ylim=(0.2, 0.8), xlabel="first pixel", ylabel="second pixel", aspect="equal")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure)
    return figure
