r"""What a number is worth: its spread over seeds where there are some, else over the images of the test set."""

import numpy as np
import pandas as pd
from scipy.stats import norm

from simbook.tables.common import NOT_RUN, rate

GLUE = "\N{NO-BREAK SPACE}"  # within a spread: a narrow column breaks before it
SETTING = ["dataset", "method", "title", "lr", "attack"]


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`simbook.tables.evaluation.accuracies` with one row a setting and attack, over its seeds.

    ``true`` and ``predicted`` are means, ``sd`` is the standard deviation of ``true`` (of a sample; NaN for one seed),
    ``seeds`` how many were measured, 0 where none was; ``low, high`` remain where there is one seed alone.
    """
    groups = frame.groupby(SETTING, sort=False, dropna=False)
    table = groups.agg(
        images=("images", "first"),
        true=("true", "mean"),
        predicted=("predicted", "mean"),
        sd=("true", "std"),
        seeds=("true", "count"),
        low=("low", "first"),
        high=("high", "first"),
        paper=("paper", "first"),
    ).reset_index()
    table.loc[table.seeds > 1, ["low", "high"]] = np.nan
    return table


def worth(row) -> str:
    """Return one accuracy of :func:`over_seeds` with its spread as text."""
    if pd.isna(row.true):
        return NOT_RUN
    spread = f"±{GLUE}{row.sd:.2f}" if row.seeds > 1 else f"[{row.low:.2f},{GLUE}{row.high:.2f}]"
    return f"{row.true:.2f} {spread}"


def cells(rows: pd.DataFrame) -> dict[str, str]:
    """Return the accuracies of one setting by attack as text; those with fewer seeds than the others say so."""
    most = rows.seeds.max()
    fewer = {row.attack: f" ({row.seeds} of {most})" for row in rows.itertuples() if 0 < row.seeds < most}
    return {row.attack: worth(row) + fewer.get(row.attack, "") for row in rows.itertuples()}


def counted(rows: pd.DataFrame) -> str:
    """Return how many seeds the accuracies of one setting have, to stand after its name; nothing for one."""
    return f", {rows.seeds.max()} seeds" if len(rows) and rows.seeds.max() > 1 else ""


def by_seed(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return accuracies (%) seed by seed of the settings that have several: a row a seed, a column an attack."""
    rows = frame[(frame.dataset == dataset) & frame.true.notna()]
    seeds = rows.groupby(["title", "lr"]).seed.transform("nunique")
    rows = rows[seeds > 1].assign(rate=rows.lr.map(rate), text=rows.true.map("{:.2f}".format))
    table = rows.pivot_table(
        index=["title", "rate", "seed"], columns="attack", values="text", aggfunc="first", sort=False
    )
    attacks = [attack for attack in frame.attack.unique() if attack in table]
    return table[attacks].sort_index(level="seed", sort_remaining=False).fillna(NOT_RUN).rename_axis(columns=None)


def difference(first: pd.DataFrame, second: pd.DataFrame, *, plus: float = 0.0) -> tuple[float, str]:
    """Return by how many points the accuracies of two settings differ, ``plus`` some, and that with its spread as text.

    Over two or more seeds that both have, the mean difference of a seed with its standard deviation; else of the one
    that both have, with the 95 % interval of two shares of the test set. NaN where no seed has both.

    Args:
        first, second: rows of :func:`simbook.tables.evaluation.accuracies`, one a seed, under one attack.
    """
    pair = first.merge(second, on="seed", suffixes=("_a", "_b"))
    pair = pair[pair.true_a.notna() & pair.true_b.notna()]
    gaps = pair.true_a - pair.true_b + plus
    if len(gaps) != 1:
        return gaps.mean(), f"{gaps.mean():.2f} ±{GLUE}{gaps.std():.2f} ({len(gaps)}{GLUE}seeds)" if len(
            gaps
        ) else NOT_RUN
    row, gap = pair.iloc[0], gaps.iloc[0]
    variance = sum(p * (100 - p) / n for p, n in ((row.true_a, row.images_a), (row.true_b, row.images_b)))
    reach = norm.ppf(0.975) * np.sqrt(variance)
    return gap, f"{gap:.2f} [{gap - reach:.2f},{GLUE}{gap + reach:.2f}]"
