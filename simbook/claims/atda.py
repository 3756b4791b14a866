r"""The claims of section 3, judged by the tables of chapter 3."""

import numpy as np
import pandas as pd

from simadv.store import Store
from simbook.claims import judging
from simbook.claims.evaluation import FAR
from simbook.claims.judging import against
from simbook.settings import Settings
from simbook.tables import atda as tables
from simbook.tables import embedding
from simbook.tables.atda import BIM, LATE, MADRY, training_facts
from simbook.tables.common import Found, history, rate
from simbook.tables.embedding import SEPARABLE, Panels
from simbook.tables.spread import Margin, difference

STILL = 0.01  # of the loss: a training whose loss falls by more in its last epochs has not converged
HURT_FROM = 0.15  # "especially when lambda >= 0.15", section 3.4


def of_features(panels: Panels) -> pd.DataFrame:
    """Return section 3.2's claims, C3.1 to C3.4, judged by the panels' numbers; the paper has pictures alone."""
    found = embedding.numbers(panels)
    found = found.set_axis([name[1] for name in found.index]).reindex(list("abcde"))
    halves = (["at_home", "home_half"], ["mixed_seen", "mixed_half"], ["separable", "separable_half"])
    home, seen, line = (found[names] for names in halves)
    rows = [
        against("C3.1", "Vanilla: BIM examples at home (%)", Margin(*home.loc["a"], most=100.0), below=50),
        against("C3.2", "BIM examples at home (%): ATDA - Vanilla", embedding.gap(home, "b", "a")),
        against(
            "C3.2",
            "ATDA: BIM examples separable from their targets (%)",
            Margin(*line.loc["b"], most=100.0),
            above=SEPARABLE,
        ),
    ]
    rows += [
        far_better(f"{text} (%): {net} - ATDA", embedding.gap(of, letter, "b"))
        for net, letter in (("BIM-Adv", "d"), ("SIM-Adv", "e"))
        for text, of in (
            ("mixed in the figure", seen),
            ("at home", home),
        )  # the paper sees in the picture that they blend
    ]
    blended = "ATDA: FGSM examples separable from their targets (%)"
    return judging.parts([*rows, against("C3.4", blended, Margin(*line.loc["c"], most=100.0), below=SEPARABLE)])


def far_better(text: str, margin: Margin) -> judging.Part:
    """Return a part of C3.3, which holds as *far better* from :data:`FAR` points on, else in direction."""
    *part, said = against("C3.3", text, margin)
    return (*part, judging.DIRECTION if said == judging.HOLDS and margin.value < FAR else said)


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
    # Table 1 is one epoch of a line that swings: another one would have been as far off as the monitor saw
    late = swing(found, dataset, ("atda", high), ("atda", low))
    tested = [
        (f"under {a}: rate {names[0]} - rate {names[1]}", (high, a), (low, a), (1.0, 1.0), FAR) for a in (BIM, MADRY)
    ]
    # to withstand is to be left with more than half of what is left by less, as in chapter 6
    tested += [(f"rate {names[1]}: FGSM's - half of the clean", (low, "FGSM"), (low, "Original"), (1.0, 0.5), 0.0)]
    fooled = [
        (f"rate {names[1]}: half of FGSM's - {a}'s", (low, "FGSM"), (low, a), (0.5, 1.0), 0.0) for a in (BIM, MADRY)
    ]
    judged = []
    for claim, (text, first, second, shares, bar) in zip(
        ("C3.5", "C3.5", *["C3.6"] * 3), [*tested, *fooled], strict=True
    ):
        ours = difference(of[first], of[second], parts=shares)
        if claim == "C3.5":
            ours = ours._replace(half=float(np.hypot(ours.half, late)))
        printed = shares[0] * of[first].paper.item() - shares[1] * of[second].paper.item()
        judged.append(against(claim, text, ours, above=bar, printed=printed, within=5.0))
    text = f"training loss, last {LATE} epochs: rate {names[0]} - rate {names[1]}"
    # the paper speaks of where training converges to: what the gap moves by within these epochs is not settled yet
    gap = Margin(loss[high] - loss[low], abs(facts.drift[high] - facts.drift[low]))
    *part, said = against("C3.7", text, gap)
    # nor is it known where a training leads that was stopped while its loss still fell
    stopped = said == judging.FAILS and -facts.drift[low] > STILL * loss[low]
    judged.append((*part, judging.UNDECIDED if stopped else said))
    return judging.parts(judged)


def as_single_step(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C3.10: at the lower rate ATDA is within :data:`FAR` points of FGSM-Adv under each attack.

    Under FGSM by predicted labels: true ones can be read off its step by a net that was trained on it.
    """
    rows, judged = frame[frame.dataset.eq(dataset) & frame.lr.eq(frame[frame.dataset.eq(dataset)].lr.min())], []
    of = {key: part.assign(seed=0) for key, part in rows.groupby(["method", "attack"])}
    for attack in ("FGSM", BIM, MADRY):
        pair = [of[method, attack] for method in ("atda", "fgsm")]
        labels = ", predicted labels" * (attack == "FGSM")
        gap = difference(*(side.assign(true=side.predicted) for side in pair) if labels else pair)
        text = f"{attack}{labels} at rate {rate(rows.lr.iloc[0])}: the distance of ATDA and FGSM-Adv (points)"
        judged.append(against("C3.10", text, gap._replace(value=abs(gap.value)), below=FAR))
    return judging.parts(judged)


def of_loss(frame: pd.DataFrame, found: Found, dataset: str) -> pd.DataFrame:
    """Return C3.11, that FGSM-Adv in ATDA's batches is ahead of it at its own rate; with their swing, as C3.5."""
    rows, judged = frame[frame.dataset.eq(dataset) & frame.lr.eq(frame[frame.dataset.eq(dataset)].lr.max())], []
    of = {key: part.assign(seed=0) for key, part in rows.groupby(["method", "attack"])}
    late = swing(found, dataset, *((method, rows.lr.iloc[0]) for method in ("fgsm", "atda")))
    for attack in (BIM, MADRY):
        text = f"{attack} at rate {rate(rows.lr.iloc[0])}: FGSM-Adv in the same batches - ATDA"
        ours = difference(of["fgsm", attack], of["atda", attack])
        ours = ours._replace(half=float(np.hypot(ours.half, late)))
        judged.append(against("C3.11", text, ours))
    return judging.parts(judged)


def swing(found: Found, dataset: str, *settings: tuple[str, float]) -> float:
    """Return 1.96 deviations of what the monitor saw last of some settings together, each a method and its rate."""
    seen = [
        history(run).get("robust", pd.Series(dtype=float)).tail(LATE)
        for spec, run in tables.by_eq_1(found)
        if run is not None and run.history and spec.dataset == dataset and (spec.method, spec.lr) in settings
    ]
    return 1.96 * float(np.hypot.reduce([0.0, *(late.std() for late in seen if len(late) > 1)]))


def of_lambda(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return section 3.4's claims, C3.8 and C3.9: lambda adds nothing under BIM, and takes under Madry."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "bim-atda")]
    bim, madry = (rows[rows.attack == attack].set_index("lambda_") for attack in (BIM, MADRY))
    gain = bim[bim.index > 0].true.mean(skipna=False) - bim.true[0.0]
    chance = bim.high[0.0] - bim.true[0.0]
    hurt = madry.true[0.0] - madry[madry.index >= HURT_FROM].true.mean(skipna=False)
    hurt = Margin(hurt, madry.true[0.0] - madry.low[0.0])
    return judging.parts(
        [
            against(
                "C3.8", f"{BIM}: mean gain of all other lambda - half of lambda 0's interval", gain - chance, below=0
            ),
            against("C3.9", f"{MADRY}: lambda 0 - mean of lambda from {HURT_FROM:g} on", hurt),
        ]
    )


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.claims.judging.gathered`."""
    frame = tables.accuracies(found, store=store)
    pictured = embedding.pictured(settings)
    judged = {
        dataset: [
            of_rates(frame, found, dataset),
            of_loss(frame, found, dataset),
            *(of(frame, dataset) for of in (of_lambda, as_single_step)),
        ]
        for dataset in frame.dataset.unique()
    }
    if pictured in judged:
        judged[pictured].append(of_features(tables.fig1(found, pictured, store=store)))
    return judging.gathered(judged)
