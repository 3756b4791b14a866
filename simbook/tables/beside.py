r"""What chapter 6 sets beside Table 3: a stronger attack, rows at other settings, and the resets seed by seed."""

import pandas as pd

from simbook import chapters
from simbook.tables.common import NAMES, Found, history, rate
from simbook.tables.evaluation import accuracies
from simbook.tables.spread import over_seeds, worth

LOST = "lost to "  # begins the names of the columns of what an attack takes
APART = 25.0  # points: how far staggered resets should keep the worst epoch above that of a common reset
SINCE = 25  # the first epoch that counts: a few after the first reset


def stronger(found: Found) -> pd.DataFrame:
    """Return Table 3's last attack and stronger ones on the same slice of the test set, for the runs that are there.

    The last columns are what each of the stronger ones takes away, in points.
    """
    stored = [(spec, run) for spec, run in found if run is not None]
    frame = over_seeds(accuracies(stored, measures=lambda spec: chapters.stronger(spec.dataset)))
    lines = []
    for (dataset, name, lr), rows in frame.groupby(["dataset", "title", "lr"], sort=False):
        where = f"{NAMES[dataset]}, first {rows.images.iloc[0]:.0f} images"
        line = {"data set": where, "method": name, "rate": rate(lr)}
        line |= {row.attack: worth(row) for row in rows.itertuples()}
        weak, *strong = rows.itertuples()
        lost = {f"{LOST}{row.attack}": weak.true - row.true for row in strong}
        lines.append(line | {name: "-" if pd.isna(value) else f"{value:.2f}" for name, value in lost.items()})
    table = pd.DataFrame(lines, columns=None if lines else ["data set", "method", "rate"])
    return table.fillna("-").set_index(["data set", "method", "rate"])


def stronger_shown(found: Found) -> pd.DataFrame:
    """Return :func:`stronger` without what :func:`simbook.told.evaluation.stronger` tells: what each attack takes."""
    table = stronger(found)
    return table[[name for name in table if not name.startswith(LOST)]]


def others(found: Found, dataset: str) -> pd.DataFrame:
    """Return the rows of one data set that stand apart from Table 3, each with its settings in its name."""
    rows = over_seeds(accuracies([pair for pair in found if pair[0].dataset == dataset], measures=chapters.beside))
    rows = rows.assign(rate=rows.lr.map(rate), text=[worth(row) for row in rows.itertuples()])
    rows["images"] = ["-" if pd.isna(count) else f"{count:.0f}" for count in rows.images]
    keys = ["title", "rate", "images"]
    table = rows.pivot_table(index=keys, columns="attack", values="text", aggfunc="first", sort=False)
    return table.rename_axis(["method", "rate", "test images"]).rename_axis(columns=None)


def cycle_ends(found: Found) -> pd.DataFrame:
    """Return SIM-Adv's robust accuracy (%) at the end of each cycle: a row a data set, rate and seed, a column a cycle.

    The net is at its strongest there; where the ends still rise, training was stopped before it was done.
    """
    rows = []
    for spec, run in found:
        if spec.method == "sim" and spec.reset == "cycle" and spec.monitor and run is not None:
            seen = history(run).set_index("epoch").robust
            ends = {f"epoch {epoch}": of for epoch, of in seen.items() if epoch % spec.n2 == 0}
            rows.append({"data set": NAMES[spec.dataset], "rate": spec.lr, "seed": spec.seed} | ends)
    table = pd.DataFrame(rows, columns=None if rows else ["data set", "rate", "seed"])
    return table.sort_values(["data set", "rate", "seed"], ascending=[False, True, True]).set_index(
        ["data set", "rate", "seed"]
    )


def cycle_ends_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`cycle_ends` as text to read."""
    names = [(dataset, rate(lr), seed) for dataset, lr, seed in table.index]
    shown = table.map(lambda value: "-" if pd.isna(value) else f"{value:.1f}")
    return shown.set_axis(pd.MultiIndex.from_tuples(names, names=table.index.names)) if names else shown


def last_rises(table: pd.DataFrame) -> pd.DataFrame:
    """Return by how many points the last cycle ended above the one before it, a mean of the seeds: ``rise, seeds``.

    Args:
        table: :func:`cycle_ends`. A row a data set and rate, those alone that were watched through two cycles.
    """
    rows = {}
    for key, of in table.groupby(level=["data set", "rate"], sort=False):
        ends = of.dropna(axis=1, how="all")
        if ends.shape[1] > 1:
            rows[key] = {"rise": (ends.iloc[:, -1] - ends.iloc[:, -2]).mean(), "seeds": len(ends)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["rise", "seeds"])


def resets(found: Found) -> pd.DataFrame:
    """Return each seed's lowest robust accuracy (%) from epoch :data:`SINCE` on under both resets, and their gap.

    Columns: ``dataset, lr, seed, cycle, staggered, gap, at``, the last the number of the epoch after which
    ``staggered`` was lowest; only seeds of which both runs are there.
    """
    lowest: dict[tuple, dict[str, tuple[float, int]]] = {}
    for spec, run in found:
        if spec.method == "sim" and run is not None and spec.monitor is not None:
            seen = history(run)
            late = seen[seen.epoch >= SINCE][["robust", "epoch"]]
            if len(late):
                worst = min(late.itertuples(index=False, name=None))
                lowest.setdefault((spec.dataset, spec.lr, spec.seed), {})[spec.reset] = worst
    rows = []
    for key, of in lowest.items():
        if len(of) == 2:
            (cycle, _), (staggered, at) = of["cycle"], of["staggered"]
            rows.append((*key, cycle, staggered, staggered - cycle, at))
    columns = ["dataset", "lr", "seed", "cycle", "staggered", "gap", "at"]
    return pd.DataFrame(rows, columns=columns).sort_values(["dataset", "lr", "seed"], ignore_index=True)


def resets_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`resets` as text to read, with the mean over the seeds of each setting where there are several."""
    lines = []
    for (dataset, lr), rows in table.groupby(["dataset", "lr"], sort=False):
        parts = [(str(row.seed), row) for row in rows.itertuples()]
        if len(rows) > 1:
            parts.append(("mean", rows[["cycle", "staggered", "gap"]].mean()))
        for seed, row in parts:
            numbers = {f"lowest, {name} (%)": f"{getattr(row, name):.1f}" for name in ("cycle", "staggered")}
            about = {"data set": NAMES[dataset], "rate": rate(lr), "seed": seed}
            after = {"after epoch": "-" if seed == "mean" else str(row.at), "gap": f"{row.gap:.1f}"}
            lines.append(about | numbers | after)
    return pd.DataFrame(lines).set_index(["data set", "rate", "seed"]) if lines else pd.DataFrame()
