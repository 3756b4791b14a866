r"""What a number is worth: its spread over seeds where there are some, else over the images of the test set."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from simbook.tables.common import NOT_RUN, rate

GLUE = "\N{NO-BREAK SPACE}"  # within a spread: a narrow column breaks before it
SETTING = ["dataset", "method", "title", "lr", "attack"]


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`simbook.tables.evaluation.accuracies` with one row a setting and attack, over its seeds.

    ``true`` and ``predicted`` are means, ``sd`` and ``predicted_sd`` their deviations (of a sample; NaN for one seed),
    ``seeds`` how many were measured, 0 where none was; ``low, high`` remain where there is one seed alone.
    """
    groups = frame.groupby(SETTING, sort=False, dropna=False)
    table = groups.agg(
        images=("images", "first"),
        true=("true", "mean"),
        predicted=("predicted", "mean"),
        sd=("true", "std"),
        predicted_sd=("predicted", "std"),
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


def with_sd(value: float, sd: float = np.nan, seeds: float = 1, *, sign: str = "") -> str:
    """Return a percentage as text with its deviation over seeds, where it is of several, and a sign after both."""
    return f"{value:.1f}" + (f" ± {sd:.1f}" if seeds > 1 else "") + sign


def with_spread(value: float, sd: float = np.nan, seeds: float = 1, *, unit: str = " seeds", sign: str = "") -> str:
    """Return :func:`with_sd` and, where there are several, the number of seeds; ``unit`` stands after that."""
    return with_sd(value, sd, seeds, sign=sign) + (f" ({seeds:.0f}{unit})" if seeds > 1 else "")


def counted(rows: pd.DataFrame) -> str:
    """Return how many seeds the accuracies of one setting have, to stand after its name; nothing for one."""
    return f", {rows.seeds.max()} seeds" if len(rows) and rows.seeds.max() > 1 else ""


def by_seed(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return accuracies (%) seed by seed of the settings that have several: a row a seed, a column an attack."""
    rows = frame[(frame.dataset == dataset) & frame.true.notna()]
    seeds = rows.groupby(["title", "lr"]).seed.transform("nunique")
    rows = rows[seeds > 1].assign(rate=rows.lr.map(rate), text=rows.true.map("{:.2f}".format))
    setting = rows.groupby(["title", "rate"], sort=False).ngroup()
    rows = rows.assign(setting=setting).sort_values(["setting", "seed"], kind="stable")
    table = rows.pivot_table(
        index=["title", "rate", "seed"], columns="attack", values="text", aggfunc="first", sort=False
    )
    attacks = [attack for attack in frame.attack.unique() if attack in table]
    return table[attacks].fillna(NOT_RUN).rename_axis(columns=None)


class Margin(NamedTuple):
    """A number, half of its 95 % interval (0: none is known) and of how many seeds; NaN where it was not measured."""

    value: float
    half: float
    seeds: str = ""
    most: float = np.inf  # no end of the interval is further from 0
    least: float = -np.inf  # nor is one below this

    @property
    def text(self) -> str:
        """The number with its interval, to read."""
        if np.isnan(self.value):
            return NOT_RUN
        ends = max(self.value - self.half, -self.most, self.least), min(self.value + self.half, self.most)
        value, low, high = (f"{round(x, 2) + 0.0:.2f}" for x in (self.value, *ends))
        return f"{value} [{low},{GLUE}{high}]{self.seeds}" if self.half > 0 else f"{value}{self.seeds}"

    def __neg__(self) -> "Margin":
        """Return the difference the other way round."""
        return self._replace(value=-self.value)


def difference(first: pd.DataFrame, second: pd.DataFrame, *, parts: tuple[float, float] = (1.0, 1.0)) -> Margin:
    """Return by how many points the accuracies of two settings differ, with its 95 % interval.

    Over two or more seeds that both have, of the mean difference of a seed (Student's); else of the difference of the
    means, see :func:`_half`.

    Args:
        first, second: rows of :func:`simbook.tables.evaluation.accuracies`, one a seed, under one attack.
        parts: what of each accuracy counts: ``(0.5, 1)`` compares a half of the first.

    Raises:
        ValueError: a seed is there twice, so that the rows are of more than one setting.
    """
    sides = [rows[rows.true.notna()] for rows in (first, second)]
    counts = [len(rows) for rows in sides]
    if min(counts) == 0:
        return Margin(np.nan, np.nan)
    if any(rows.seed.duplicated().any() for rows in sides):
        raise ValueError("a seed is there twice: these rows are of more than one setting")
    by_seed = [part * rows.set_index("seed").true for part, rows in zip(parts, sides, strict=True)]
    if together := paired(*by_seed):
        gap, half = together
        seeds = f" ({len(by_seed[0].index.intersection(by_seed[1].index))}{GLUE}seeds)"
    else:
        gap = by_seed[0].mean() - by_seed[1].mean()
        half = np.hypot(*(part * _half(*pair) for part, pair in zip(parts, (sides, sides[::-1]), strict=True)))
        both = "1 seed" if counts == [1, 1] else f"{counts[0]} and {counts[1]} seeds"
        seeds = f" ({both.replace(' ', GLUE)})"
    return Margin(gap, half, seeds, most=100.0)


def paired(first: pd.Series, second: pd.Series) -> tuple[float, float] | None:
    """Return the mean difference of two settings seed by seed and half of its 95 % interval (Student's).

    The same seed is the same first weights and the same batches. None where fewer than two seeds are shared.

    Args:
        first, second: a number by seed.
    """
    gaps = first.sub(second).dropna()
    return (gaps.mean(), of_mean(gaps)) if len(gaps) > 1 else None


def half_of(sd: float, count: int, *, of: int) -> float:
    """Return half of Student's 95 % interval of the mean of ``of`` values, whose spread ``count`` others have shown."""
    return sd * student.ppf(0.975, count - 1) / of**0.5


def half_of_share(percents: float, images: float) -> float:
    """Return half of the 95 % interval of a share of so many images, in points."""
    return norm.ppf(0.975) * np.sqrt(percents * (100 - percents) / images)


def of_mean(values: pd.Series) -> float:
    """Return half of Student's 95 % interval of the mean of two or more values."""
    return half_of(values.std(), len(values), of=len(values))


def _half(rows: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return half of the 95 % interval of an accuracy (points): over its seeds.

    A single seed is taken to vary as those of the setting that it is compared with; where both have one, the interval
    is that of a share of the test set, and the spread of seeds is not in it.
    """
    if len(rows) > 1:
        return of_mean(rows.true)
    if len(other) > 1:
        return half_of(other.true.std(), len(other), of=1)
    return half_of_share(rows.true.iloc[0], rows.images.iloc[0])
