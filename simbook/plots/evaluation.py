r"""The figures of chapter 6."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from simbook.plots.style import COLOURS, WIDTH, colour, nothing_yet
from simbook.tables.common import named


def accuracy_dots(frame: pd.DataFrame, *, title: str) -> Figure:
    """Draw Table 3 of one data set: a dot for ours with its 95 % interval, a ring for the paper's number.

    Args:
        frame: rows of :func:`simbook.tables.evaluation.accuracies` of one data set that were run.
    """
    if frame.empty:
        return nothing_yet(title)
    several = frame.dataset.nunique() > 1
    frame = frame.assign(
        name=[
            f"{named(r.dataset)}: " * several + f"{r.title}, rate {r.lr:.0e}".replace("e-0", "e-")
            for r in frame.itertuples()
        ]
    )
    rows = {name: i for i, name in enumerate(frame.name.unique())}
    attacks = list(dict.fromkeys(frame.attack))
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2 + 0.42 * len(rows)), layout="constrained")
    for i, attack in enumerate(attacks):
        part = frame[frame.attack == attack]
        # attacks of one model stand a little apart, so that none hides another
        at = part.name.map(rows) + 0.18 * (i - (len(attacks) - 1) / 2)
        error = [part.true - part.low, part.high - part.true]
        axes.errorbar(part.true, at, xerr=error, fmt="o", ms=5, color=colour(attack), label=attack, capsize=2, lw=1)
        axes.plot(part.paper, at, "o", ms=9, mfc="none", mec=colour(attack), mew=1.2, ls="none")
    axes.plot([], [], "o", ms=9, mfc="none", mec="black", ls="none", label="the paper's number")
    axes.set(yticks=range(len(rows)), yticklabels=list(rows), xlim=(-3, 103), xlabel="test accuracy (%)", title=title)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.9 / len(rows)), ncols=len(attacks) + 1)
    sns.despine(figure, left=True)
    return figure


def robustness_by_epoch(curves: dict[str, pd.DataFrame], *, resets: Iterable[int], attack: str, title: str) -> Figure:
    """Draw robust accuracy after each epoch, a line a run, with the epochs in which ``cycle`` resets.

    Args:
        curves: label to a frame with ``epoch`` and ``robust`` (percent).
        resets: epochs marked by vertical lines.
    """
    if not curves:
        return nothing_yet(title)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
    for i, (label, curve) in enumerate(curves.items()):
        axes.plot(curve.epoch + 1, curve.robust, marker="os^D"[i % 4], ms=3.5, lw=1.4, color=COLOURS[i], label=label)
    for i, epoch in enumerate(resets):
        axes.axvline(epoch + 0.5, color="grey", ls=":", lw=1, label=None if i else "reset of the cycle")
    axes.set(xlabel="epochs trained", ylabel=f"accuracy under {attack} (%)", ylim=(-3, 103), title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure)
    return figure
