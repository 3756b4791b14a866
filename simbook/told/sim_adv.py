r"""What chapter 5 found, in sentences whose every number is computed."""

import pandas as pd

from simbook.claims.sim_adv import LEARNED, attacks_of
from simbook.measures.search_space import OPTIMAL, VANILLA, Toy
from simbook.tables import embedding
from simbook.tables.common import NAMES, NOTHING, listed, rate
from simbook.tables.embedding import Panels
from simbook.tables.sim_adv import reach


def of_training(frame: pd.DataFrame, dataset: str) -> str:
    """Return each method's accuracy under the first iterated attack and under FGSM, the best of its rates."""
    rows = frame[(frame.dataset == dataset) & frame.true.notna()]
    if rows.empty:
        return NOTHING
    bim = attacks_of(rows)[0]
    said = []
    for name, part in rows[rows.attack == bim].groupby("title", sort=False):
        best = part.loc[part.true.idxmax()]
        single = rows[(rows.run == best.run) & (rows.attack == "FGSM")].true.iloc[0]
        text = f"{name} at rate {rate(best.lr)}: {best.true:.2f} % under {bim}, {single:.2f} % under FGSM"
        said.append(f"{text}; the paper has {best.paper:.2f} % under {bim}." if pd.notna(best.paper) else f"{text}.")
    return listed(said)


def of_pairs(frame: pd.DataFrame, dataset: str, *, without: str) -> str:
    """Return what two settings differ by under each attack; ``without`` is what the weaker one lacks."""
    rows = frame[frame.dataset == dataset]
    said = []
    for attack, part in rows.groupby("attack", sort=False):
        ordered = part.assign(ratio=part.n2 / part.n1).sort_values("ratio")
        under, over = ordered.iloc[0], ordered.iloc[-1]
        if pd.notna(over.true) and pd.notna(under.true):
            name = "on clean images" if attack == "Original" else f"under {attack}"
            text = (
                f"{name}, {over.title} has {over.true:.2f} % and {under.title}, without {without}, {under.true:.2f} %"
            )
            apart = over.low > under.high or over.high < under.low
            said.append(f"{text[0].upper()}{text[1:]}; the 95 % intervals {'are apart' if apart else 'overlap'}.")
    return listed(said) if said else "There is no pair of runs to compare yet."


def of_sawtooth(facts: pd.DataFrame) -> str:
    """Return what the monitor saw of the nets of each data set and setting, over the rates, a sentence each."""
    said = []
    for (dataset, name), rows in facts.groupby(["dataset", "title"], sort=False):
        late, about = rows[rows.lowest.notna()], f"{NAMES[dataset]}, {name}"
        if late.empty:
            said.append(f"{about}: training ended within the first cycle.")
            continue
        text = (
            f"{about}, {f'{len(late)} nets' if len(late) > 1 else 'one net'}: {between(late['last'])} % after the last "
        )
        text += f"epoch, {between(late.lowest)} % at the lowest since the first cycle; {late.lost.sum():.0f} of "
        text += f"{late.later.sum():.0f} epochs at less than half of the last"
        back = late.back.dropna()
        text += f"; on average {between(back)} epochs from a reset until it is back" if len(back) else ""
        said.append(f"{text}.")
    return listed(said)


def between(values: pd.Series) -> str:
    """Return the range of some numbers as text."""
    low, high = f"{values.min():.1f}", f"{values.max():.1f}"
    return low if low == high else f"{low} to {high}"


def of_space(table: pd.DataFrame, full: pd.DataFrame, toy: Toy) -> str:
    """Return what was found of the search spaces: means over seeds.

    Args:
        full: as :func:`simbook.tables.search_space.at_full` makes it.
    """
    of = table.groupby("method").mean(numeric_only=True)
    optimal, bim, fgsm, sim, staggered, free = toy.methods
    edge = of.corner + of.surface
    least = of.clean.drop(free).min()
    others = "the others all" if least > 99.5 else f"the others at least {least:.0f} %"
    return listed(
        [
            f"The exhaustive search may go anywhere, and {edge[optimal]:.1f} % of what it finds is on the surface: "
            f"{of.corner[optimal]:.1f} % on a corner, {of.surface[optimal]:.1f} % on a side.",
            f"FGSM's examples take {of.cells[fgsm]:.0f} % of the places, BIM's {of.cells[bim]:.0f} %, "
            f"SIM's {of.cells[sim]:.0f} %: SIM's are the most widespread, not BIM's, "
            f"though BIM passes {of.passed[bim]:.0f} % on its way."
            if of.cells[sim] > of.cells[bim]
            else f"BIM's examples take {of.cells[bim]:.0f} % of the places and SIM's {of.cells[sim]:.0f} %.",
            f"Inside the ball are {of.inside[sim]:.0f} % of SIM's examples, and {of.inside[free]:.1f} % of Free-Adv's: "
            "at the image itself, where a full step back from the surface ends.",
            _at_full(full[full.method == sim], toy),
            f"Free-Adv's nets have {of.clean[free]:.0f} % of the clean points right, {others}"
            + (": they did not learn the board, so their search says nothing." if of.clean[free] < LEARNED else "."),
            "Trained on such examples, this many points withstand the exhaustive search: "
            + ", ".join(f"{name} {of[OPTIMAL][name]:.0f} %" for name in (optimal, bim, fgsm, sim, staggered, VANILLA))
            + ".",
        ]
    )


def _at_full(full: pd.DataFrame, toy: Toy) -> str:
    """Return in how many epochs more than half of SIM's examples are at full epsilon, and in how many they could be."""
    allowed = reach(toy.n1, toy.n2, epochs=toy.epochs).query("full > 50")
    missed = allowed.merge(full, on="epoch").query("share <= 50")
    where = ", all of the first cycle," if missed.epoch.max() <= toy.n2 else ""
    told = f"More than half of SIM's examples are at full epsilon in {(full.share > 50).sum()} of {toy.epochs} epochs; "
    rest = f" In the {len(missed)} others{where} steps of different epochs have undone each other." * (len(missed) > 0)
    return f"{told}arithmetic allows {len(allowed)}.{rest}"


def of_features(panels: Panels) -> str:
    """Return the numbers beside Fig. 9, a sentence a panel."""
    found = embedding.numbers(panels)
    measured = found.dropna(subset=["fooled"])
    said = [
        f"{name[4:]}: {row.fooled:.1f} % of the examples are misclassified, {row.at_home:.1f} % are at home, "
        f"and a linear classifier tells them from their targets with {row.separable:.1f} %."
        for name, row in measured.iterrows()
    ]
    missing = list(found.index.difference(measured.index, sort=False))
    return listed(said + ([f"Not run yet: {'; '.join(name[4:] for name in missing)}."] if missing and said else []))


def of_forgetting(falls: pd.DataFrame, dataset: str) -> str:
    """Return the largest fall of each setting of a data set that was watched."""
    return listed(
        [
            f"{row.title} at rate {rate(row.lr)}, {f'{row.seeds} seeds' if row.seeds > 1 else 'one seed'}, looked at "
            f"{row.watched} times: clean accuracy fell by at most "
            f"{row.clean:.1f} points from an epoch to a later one, robust accuracy by {row.robust:.1f}."
            for row in falls[falls.dataset == dataset].itertuples()
        ]
    )
