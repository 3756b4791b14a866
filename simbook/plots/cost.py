r"""The figure of the cost page."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from simbook.plots.style import COLOURS, WIDTH, nothing_yet

NAMED = {"free": "Free-Adv", "sim": "SIM-Adv", "bim": "BIM-Adv", "atda": "ATDA, batches of 32"}


def costs(epochs: pd.DataFrame, speeds: pd.DataFrame, *, title: str) -> Figure:
    """Draw what epochs cost over Vanilla's beside what passes predict, and images a second of each attacker.

    Args:
        epochs: :func:`simbook.tables.cost.training`, or empty.
        speeds: columns ``attacker`` and ``speed``, or empty.
    """
    if epochs.empty and speeds.empty:
        return nothing_yet(title)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4), layout="constrained")
    for i, (net, rows) in enumerate(epochs.groupby(level="net", sort=False) if len(epochs) else []):
        others = rows[rows.method != "vanilla"]
        left.plot(others.predicted, others.over, "os"[i % 2], ms=6, color=COLOURS[i], label=net, mfc="none", mew=1.4)
        for name, x, rises in others.groupby("method").agg({"predicted": "first", "over": "max"}).itertuples():
            if i == 0 and name in NAMED:
                below = -9 if name == "sim" else 4  # the other net's ATDA is above it
                left.annotate(NAMED[name], (x, rises), xytext=(7, below), textcoords="offset points", size="small")
    if len(epochs):
        top = 1.3 * max(epochs.over.max(), epochs.predicted.max())
        left.plot([0.8, top], [0.8, top], ls=":", lw=1, color="grey", label="as the passes predict")
        left.set(xscale="log", yscale="log", xlim=(0.8, top), ylim=(0.6, top))
        left.legend(loc="upper left")
    left.set(xlabel="passes over Vanilla's", ylabel="seconds over Vanilla's", title="an epoch of training")
    mine = speeds.attacker.str.startswith("ours") if len(speeds) else []
    right.barh(speeds.attacker, speeds.speed, color=[COLOURS[0] if own else COLOURS[7] for own in mine])
    right.invert_yaxis()
    right.set(xlabel="images a second", title="an attack")
    figure.suptitle(title)
    sns.despine(figure)
    return figure
