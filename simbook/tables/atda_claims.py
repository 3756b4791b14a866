r"""The claims of section 3, judged by the tables of chapter 3."""

import numpy as np
import pandas as pd

from simadv.store import Store
from simbook.settings import Settings
from simbook.tables import atda as tables
from simbook.tables import embedding, judging
from simbook.tables.atda import BIM, LATE, MADRY, training_facts
from simbook.tables.common import Found, rate
from simbook.tables.embedding import SEPARABLE, Panels
from simbook.tables.evaluation_claims import FAR
from simbook.tables.spread import Margin, difference

HURT_FROM = 0.15  # "especially when lambda >= 0.15", section 3.4


def of_features(panels: Panels) -> pd.DataFrame:
    """Return section 3.2's claims, C3.1 to C3.4, judged by the panels' numbers; the paper has pictures alone."""
    found = embedding.numbers(panels)
    found = found.set_axis([name[1] for name in found.index]).reindex(list("abcde"))
    home, seen, line = (
        found[[name, half]].set_axis(["value", "half"], axis=1)
        for name, half in (("at_home", "home_half"), ("mixed_seen", "mixed_half"), ("separable", "separable_half"))
    )

    def apart(of: pd.DataFrame, letter: str) -> Margin:
        """Return how far a net's number is above ATDA's, or above Vanilla's where it is ATDA's own."""
        a, b = of.loc[letter], of.loc["a" if letter == "b" else "b"]
        return Margin(a.value - b.value, float(np.hypot(a.half, b.half)))

    def above(of: pd.DataFrame, letter: str, bar: float) -> Margin:
        return Margin(of.value[letter] - bar, of.half[letter])

    rows = [
        ("C3.1", "Vanilla: BIM examples sit among other classes: 50 - at home", -above(home, "a", 50)),
        ("C3.2", "ATDA: fewer of them do: at home - Vanilla's", apart(home, "b")),
        ("C3.2", f"ATDA: yet separable from their targets: separable - {SEPARABLE:g}", above(line, "b", SEPARABLE)),
    ]
    rows += [
        ("C3.3", f"{net}: {text}: its own - ATDA's", apart(of, letter))
        for net, letter in (("BIM-Adv", "d"), ("SIM-Adv", "e"))
        for text, of in (
            ("mixed in the figure", seen),
            ("at home", home),
        )  # the paper sees in the picture that they blend
    ]
    rows.append(("C3.4", f"ATDA: FGSM examples blended: {SEPARABLE:g} - separable", -above(line, "c", SEPARABLE)))
    return judging.parts(
        [(claim, f"{text} > 0", margin.text, None, better(margin, far=claim == "C3.3")) for claim, text, margin in rows]
    )


def better(margin: Margin, *, far: bool) -> str:
    """Judge a margin by its sign and its interval; *far better* holds from :data:`FAR` points on, else in direction."""
    said = judging.by_sign(margin.value, margin.half)
    return judging.DIRECTION if far and said == judging.HOLDS and margin.value < FAR else said


def of_rates(frame: pd.DataFrame, found: Found, dataset: str) -> pd.DataFrame:
    """Return section 3.3's claims, C3.5 to C3.7: what ATDA loses at the lower rate, and what its loss does there."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "atda")]
    of = {key: part.assign(seed=0) for key, part in rows.groupby(["lr", "attack"])}
    high, low = rows.lr.max(), rows.lr.min()
    if high == low:
        nothing = ("needs a second learning rate", float("nan"), None, judging.UNTESTED)
        return judging.parts([(claim, *nothing) for claim in ("C3.5", "C3.6", "C3.7")])
    facts = training_facts(found, dataset)
    names, loss = (rate(high), rate(low)), facts.loss
    much = {"plus": -FAR}
    # Table 1 is one epoch of a line that swings: another one would have been as far off as the monitor saw
    swing = 1.96 * float(np.hypot(facts.swing[high], facts.swing[low]))
    tested = [
        (f"under {a}: rate {names[0]} - rate {names[1]}, {-FAR:+g}", (high, a), (low, a), much) for a in (BIM, MADRY)
    ]
    half = {"parts": (0.5, 1.0)}  # to fail is to be left with less than half of FGSM's, as in chapter 6
    tested += [(f"rate {names[1]}: half of FGSM's - {MADRY}'s", (low, "FGSM"), (low, MADRY), half)]
    judged = []
    for claim, (text, first, second, how) in zip(("C3.5", "C3.5", "C3.6"), tested, strict=True):
        ours = difference(of[first], of[second], **how)
        if claim == "C3.5" and np.isfinite(swing):
            ours = ours._replace(half=float(np.hypot(ours.half, swing)))
        share = how.get("parts", (1.0, 1.0))[0]
        printed = share * of[first].paper.item() - of[second].paper.item() + how.get("plus", 0.0)
        said = judging.near(ours.value, printed, within=5.0, spread=ours.half)
        judged.append((claim, f"{text} > 0", ours.text, printed, said))
    text = f"training loss, last {LATE} epochs: rate {names[0]} - rate {names[1]} > 0"
    # the paper speaks of where training converges to: what the gap moves by within these epochs is not settled yet
    gap = Margin(loss[high] - loss[low], abs(facts.drift[high] - facts.drift[low]))
    judged.append(("C3.7", text, gap.text, None, judging.by_sign(gap.value, gap.half)))
    return judging.parts(judged)


def as_single_step(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C3.10: at the lower rate ATDA is within :data:`FAR` points of FGSM-Adv under each attack."""
    rows, judged = frame[frame.dataset.eq(dataset) & frame.lr.eq(frame[frame.dataset.eq(dataset)].lr.min())], []
    of = {key: part.assign(seed=0) for key, part in rows.groupby(["method", "attack"])}
    for attack in ("FGSM", BIM, MADRY):
        gap = difference(of["atda", attack], of["fgsm", attack])
        margin = Margin(FAR - abs(gap.value), gap.half)
        text = f"{attack} at rate {rate(rows.lr.iloc[0])}: {FAR:g} - the distance of ATDA and FGSM-Adv > 0"
        judged.append(("C3.10", text, margin.text, None, judging.by_sign(margin.value, margin.half)))
    return judging.parts(judged)


def of_lambda(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return section 3.4's claims, C3.8 and C3.9: lambda adds nothing under BIM, and takes under Madry."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "bim-atda")]
    bim, madry = (rows[rows.attack == attack].set_index("lambda_") for attack in (BIM, MADRY))
    gain = bim[bim.index > 0].true.mean(skipna=False) - bim.true[0.0]
    chance = bim.high[0.0] - bim.true[0.0]
    hurt = madry.true[0.0] - madry[madry.index >= HURT_FROM].true.mean(skipna=False)
    beyond = hurt > madry.true[0.0] - madry.low[0.0]
    said = judging.UNDECIDED if hurt > 0 and not beyond else judging.by_sign(hurt)
    gains = ("C3.8", f"{BIM}: half of lambda 0's interval - mean gain of all other lambda", chance - gain)
    costs = ("C3.9", f"{MADRY}: lambda 0 - mean of lambda from {HURT_FROM:g} on > 0", hurt, None, said)
    return pd.concat([judging.above_0([gains]), judging.parts([costs])], ignore_index=True)


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.tables.judging.gathered`."""
    frame = tables.accuracies(found, store=store)
    pictured = embedding.pictured(settings)
    judged = {
        dataset: [of_rates(frame, found, dataset), of_lambda(frame, dataset), as_single_step(frame, dataset)]
        for dataset in frame.dataset.unique()
    }
    if pictured in judged:
        judged[pictured].append(of_features(tables.fig1(found, pictured, store=store)))
    return judging.gathered(judged)
