r"""The claims of section 3, judged by the tables of chapter 3."""

import pandas as pd

from simbook.tables import embedding
from simbook.tables.atda import BIM, MADRY, training_facts
from simbook.tables.common import NOT_RUN, Found, rate, verdict
from simbook.tables.embedding import SEPARABLE, Panels

HURT_FROM = 0.15  # "especially when lambda >= 0.15", section 3.4


def of_features(panels: Panels) -> pd.DataFrame:
    """Return section 3.2's claims, C3.1 to C3.4, judged by the panels' numbers; the paper has pictures alone."""
    found = embedding.numbers(panels)
    found = found.set_axis([name[1] for name in found.index]).reindex(list("abcde"))
    separable, home = found.separable, found.at_home
    rows = [
        ("C3.1", "Vanilla: BIM examples sit among other classes: 50 - at home", 50 - home["a"]),
        ("C3.2", "ATDA: fewer of them do: at home - Vanilla's", home["b"] - home["a"]),
        ("C3.2", f"ATDA: yet separable from their targets: separable - {SEPARABLE:g}", separable["b"] - SEPARABLE),
    ]
    for net, letter in (("BIM-Adv", "d"), ("SIM-Adv", "e")):
        rows += [
            ("C3.3", f"{net}: blended with their targets: {SEPARABLE:g} - separable", SEPARABLE - separable[letter]),
            ("C3.3", f"{net}: ATDA's separable - its own", separable["b"] - separable[letter]),
            ("C3.3", f"{net}: its at home - ATDA's", home[letter] - home["b"]),
        ]
    rows.append(("C3.4", f"ATDA: FGSM examples blended: {SEPARABLE:g} - separable", SEPARABLE - separable["c"]))
    return _judged([(*row, None, _by_sign(row[-1])) for row in rows])


def of_rates(frame: pd.DataFrame, found: Found, dataset: str) -> pd.DataFrame:
    """Return section 3.3's claims, C3.5 to C3.7: what ATDA loses at the lower rate, and what its loss does there."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "atda")]
    of = rows.set_index(["lr", "attack"])[["true", "paper"]]
    high, low = rows.lr.max(), rows.lr.min()
    if high == low:
        nothing = ("needs a second learning rate", float("nan"), None, "not tested")
        return _judged([(claim, *nothing) for claim in ("C3.5", "C3.6", "C3.7")])
    names, loss = (rate(high), rate(low)), training_facts(found, dataset).loss
    tested = [(f"under {a}: rate {names[0]} - rate {names[1]}", (high, a), (low, a)) for a in (BIM, MADRY)]
    tested += [(f"rate {names[1]}: FGSM - {MADRY}", (low, "FGSM"), (low, MADRY))]
    judged = []
    for claim, (text, first, second) in zip(("C3.5", "C3.5", "C3.6"), tested, strict=True):
        ours, printed = of.loc[first] - of.loc[second]
        judged.append((claim, text, ours, printed, verdict(ours, printed, within=5.0)))
    ours = loss[high] - loss[low]
    judged.append(
        ("C3.7", f"training loss, last epochs: rate {names[0]} - rate {names[1]}", ours, None, _by_sign(ours))
    )
    return _judged(judged)


def of_lambda(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return section 3.4's claims, C3.8 and C3.9: lambda adds nothing under BIM, and takes under Madry."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "bim-atda")]
    bim, madry = (rows[rows.attack == attack].set_index("lambda_") for attack in (BIM, MADRY))
    gain = bim[bim.index > 0].true.mean(skipna=False) - bim.true[0.0]
    chance = bim.high[0.0] - bim.true[0.0]
    hurt = madry.true[0.0] - madry[madry.index >= HURT_FROM].true.mean(skipna=False)
    beyond = hurt > madry.true[0.0] - madry.low[0.0]
    said = "holds in direction" if hurt > 0 and not beyond else _by_sign(hurt)
    tested = [
        ("C3.8", f"{BIM}: half of lambda 0's interval - mean gain of lambda > 0", chance - gain, None),
        ("C3.9", f"{MADRY}: lambda 0 - mean of lambda >= {HURT_FROM:g}", hurt, None),
    ]
    return _judged([(*tested[0], _by_sign(chance - gain)), (*tested[1], said)])


def _by_sign(margin: float) -> str:
    """Judge a claim that the paper makes in words alone: by the sign of its margin."""
    return "not tested" if pd.isna(margin) else "holds" if margin > 0 else "does not hold"


def _judged(rows: list[tuple[str, str, float, float | None, str]]) -> pd.DataFrame:
    """Return claims as a table to read."""
    table = pd.DataFrame(rows, columns=["claim", "measured (above 0)", "ours", "paper", "verdict"])
    for column in ("ours", "paper"):
        table[column] = [("-" if column == "paper" else NOT_RUN) if pd.isna(v) else f"{v:.2f}" for v in table[column]]
    return table.set_index(["claim", "measured (above 0)"])


def verdicts(judged: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """Return one verdict a claim and data set; ``-`` where the claim is not about that data set.

    A claim of several parts holds if all of them do, and in direction if some do; with a part untested, so is it.
    """
    columns = {}
    for dataset, tables in judged.items():
        parts = pd.concat(tables).verdict.groupby(level="claim").agg(set)
        columns[dataset] = parts.map(_together)
    table = pd.DataFrame(columns).sort_index().fillna("-")
    return table.rename_axis("claim")


def _together(parts: set[str]) -> str:
    """Return the verdict on a claim from those on its parts."""
    if "not tested" in parts:
        return "not tested"
    return parts.pop() if len(parts) == 1 else "holds in direction"
