r"""Which nets survive, in sentences whose every number is computed: those of chapter 7, and all that come with it."""

import pandas as pd

from simbook.tables import survival
from simbook.tables.common import NAMES, listed
from simbook.tables.spread import with_sd

NAMED = 3  # as many nets are named where all would be a table once more
MOST = 3  # of each sign of masked gradients, as many nets


def four_told(nets: pd.DataFrame) -> list[str]:
    """Return which nets withstand AutoAttack best, with Wilson's 95 % interval, and what the others have at most."""
    if "AutoAttack" not in nets or nets["AutoAttack"].isna().all():
        return []
    ranked = nets[nets["AutoAttack"].notna()].sort_values("AutoAttack", ascending=False)
    parts = []
    for _, row in ranked.head(NAMED).iterrows():
        low, high = survival.interval(row["AutoAttack"], row.images)
        parts.append(f"{row.title} {row['AutoAttack']:.1f} % ({low:.1f} to {high:.1f}; BIM {row['BIM(10,40)']:.1f})")
    others = ranked["AutoAttack"][NAMED:]
    more = f"; {len(others)} more have {others.max():.1f} % or less" if len(others) else ""
    return [
        f"AutoAttack leaves, of seed 0 and on the first {nets.images.iloc[0]:.0f} images, {'; '.join(parts)}{more}.",
        *seeds_told(nets),
        *gap_told(nets),
    ]


def seeds_told(nets: pd.DataFrame) -> list[str]:
    """Return the nets that AutoAttack was run on at several seeds, with each seed's accuracy and their mean."""
    told = [
        f"{row.title} {', '.join(f'{one:.1f}' for one in row.seeds)} % "
        f"({with_sd(pd.Series(row.seeds).mean(), pd.Series(row.seeds).std(), len(row.seeds))})"
        for row in nets.itertuples()
        if len(row.seeds) > 1
    ]
    return [f"Seed by seed: {'; '.join(told)}."] if told else []


def others_told(nets: pd.DataFrame) -> str:
    """Return what AutoAttack leaves of the nets of :func:`simbook.tables.survival.others`, a line a data set."""
    said = []
    if nets.empty:
        return "No other net of these data sets comes with the book, or none was run."
    for dataset, part in nets.dropna(subset=["AutoAttack"]).groupby("dataset", sort=False):
        best = part.sort_values("AutoAttack", ascending=False)
        standing = [
            f"{row.title} ({row.AutoAttack:.1f} %)" for row in best.itertuples() if row.AutoAttack > survival.ROBUST
        ]
        rest = len(best) - len(standing)
        text = f"**{NAMES[dataset]}.** Above {survival.ROBUST:g} % under AutoAttack: {', '.join(standing) or 'none'}"
        said.append(" ".join([text + (f"; the other {rest} below." if rest else "."), *gap_told(part)]))
    return listed(said) if said else "None was tested yet."


def gap_told(nets: pd.DataFrame) -> list[str]:
    """Return how far the paper's SIM-Adv is below its BIM-Adv under BIM and under AutoAttack, where both were run."""
    first_of = [nets[nets.method.eq(method)].head(1) for method in ("sim", "bim")]
    if any(row.empty or row["AutoAttack"].isna().all() for row in first_of):
        return []
    sim, bim = (row.iloc[0] for row in first_of)
    far = {name: sim[name] - bim[name] for name in ("BIM(10,40)", "AutoAttack")}
    told = " and ".join(f"{points:+.1f} points under {name}" for name, points in far.items())
    return [f"On the same images, seed 0, {sim.title} less {bim.title} is {told}."]


def masked_told(nets: pd.DataFrame, dataset: str) -> list[str]:
    """Return the nets that show each sign of masked gradients most, by the share of the images that show it.

    What BIM-Adv shows as well is usual: only nets that show more, by more than chance, are named.
    """
    told, usual = [], nets[nets.method.eq("bim")].title.head(1)
    signs, shown = survival.seen(nets, dataset), set()
    for sign, seen in signs.items():
        bar = survival.CHANCE + max([0.0, *seen.reindex(usual).dropna()])
        shows = seen[seen > bar].sort_values(ascending=False)
        shown |= set(shows.index)
        named = ", ".join(f"{name} {value:.1f}" for name, value in shows.head(MOST).items())
        more = f" and {len(shows) - MOST} more" if len(shows) > MOST else ""
        told += [f"*{sign}* (more than {bar:.1f} % of the images): {named}{more}"] if len(shows) else []
    if not told:
        return []
    return [
        f"Of {len(signs)} nets {len(shown)} show some sign in more images than BIM-Adv does, by over "
        f"{survival.CHANCE:g} %.",
        f"What they have under BIM may be too high, by the sign that says so: {'; '.join(told)}.",
    ]
