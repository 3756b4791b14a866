r"""The figure of the cost page."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from simbook.plots.style import COLOURS, WIDTH, nothing_yet


def costs(epochs: pd.DataFrame, speeds: pd.DataFrame, *, title: str) -> Figure:
    """Draw what epochs cost over Vanilla's beside what passes predict, and images a second of each attacker.

    Args:
        epochs: :func:`simbook.tables.cost.training`, or empty.
        speeds: columns ``attacker`` and ``speed``, or empty.
    """
    if epochs.empty and speeds.empty:
        return nothing_yet(title)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4), layout="constrained")
    if len(epochs):
        timed = _named(epochs)
        names = list(dict.fromkeys(timed.sort_values("predicted", kind="stable").name))
        for i, (net, rows) in enumerate(timed.groupby(level="net", sort=False)):
            where = [names.index(name) for name in rows.name]
            left.plot(rows.over, where, "os"[i % 2], ms=6, color=COLOURS[i], label=net, mfc="none", mew=1.4)
        predicted = timed.groupby("name").predicted.first()[names]
        left.plot(predicted, range(len(names)), "|", ms=16, mew=1.4, color="grey", label="by the passes")
        left.set(xscale="log", yticks=range(len(names)), yticklabels=names, xticks=(1, 2, 5, 10, 20))
        left.xaxis.set_major_formatter("{x:g}")
        left.minorticks_off()
        left.invert_yaxis()
        figure.legend(loc="outside lower left", ncols=3)  # inside, its marks would read as data
    left.set(xlabel="seconds, times Vanilla's (log)", title="an epoch of training")
    mine = speeds.attacker.str.startswith("ours") if len(speeds) else []
    right.barh(speeds.attacker, speeds.speed, color=[COLOURS[0] if own else COLOURS[7] for own in mine])
    right.invert_yaxis()
    right.set(xlabel="images a second", title="an attack")
    figure.suptitle(title)
    sns.despine(figure)
    return figure


def _named(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all but Vanilla with a ``name``, which says the batch where a method was timed at several."""
    rows = epochs[epochs.method != "vanilla"]
    names, several = rows.index.get_level_values("trained with"), rows.groupby("method").batch.transform("nunique") > 1
    odd = [f", batches of {batch}" * many for batch, many in zip(rows.batch, several, strict=True)]
    return rows.assign(name=[name + more for name, more in zip(names, odd, strict=True)])
