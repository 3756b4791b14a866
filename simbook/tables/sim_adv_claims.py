r"""The claims of section 5, judged by the tables of chapter 5."""

import math

import pandas as pd

from simadv.store import Store
from simbook import chapters
from simbook.measures.search_space import OPTIMAL, Toy, search_spaces
from simbook.settings import Settings
from simbook.tables import embedding, judging, search_space, sim_adv
from simbook.tables.common import Found, rate
from simbook.tables.embedding import SEPARABLE, Panels
from simbook.tables.evaluation_claims import at_one_rate, gap, handicap, printed_of, where
from simbook.tables.judging import Part
from simbook.tables.spread import difference, half_of_share, of_mean

NEAR = 4.0  # points: section 6.2's bound on what SIM-Adv loses to iterative training
LEARNED = 60.0  # percent of clean points: one answer for all of them has 56 at the most
NONE = 1.0  # percent: fewer examples than this are none
FORGETS = 10.0  # points: a larger fall from one epoch to a later one counts as forgetting
#: Where Fig. 7 is said to have Madry-Adv worse without over-perturbation, and the data set that stands in.
WORSE_WITHOUT = ("fmnist", "digits")
#: Where Fig. 9 and section 6 are said to have Free-Adv behind ATDA, and the data set that stands in.
BEHIND_ATDA = ("mnist", "digits")
PLANE = "on the plane"  # what stands for a data set where the problem is Fig. 8's


def attacks_of(frame: pd.DataFrame) -> list[str]:
    """Return the iterated attacks of a data set's rows, BIM first."""
    return [name for name in frame.attack.unique() if name not in ("Original", "FGSM")]


def of_training(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.1, SIM-Adv withstands what Free-Adv does not and is near Iter-Adv.

    Each pair is taken at one rate and over its seeds, as in chapter 6.
    """
    rows = frame[frame.dataset.eq(dataset) & frame.reset.ne("staggered")]
    rows = rows[rows.method.ne("sim") | (rows.n1 < rows.n2)]  # with over-perturbation alone
    rows = rows[rows.method.ne("madry") | rows.n1.eq(rows.n1[rows.method.eq("madry")].min())]  # of Fig. 7's, Table 3's
    bim = attacks_of(rows)[0]
    tested: list[Part] = []
    for method, name, plus in (
        ("free", "Free-Adv", handicap("free", dataset)),
        ("bim", "BIM-Adv", NEAR),
        ("madry", "Madry-Adv", NEAR),
    ):
        pair = at_one_rate(rows, method, bim)
        ours = difference(*pair, plus=plus)
        printed = gap(dataset, bim, method) + plus
        said = judging.near(ours.value, printed, within=5.0, spread=ours.half)
        text = f"SIM-Adv - {name} under {bim}{where(*pair)}, {plus:+g} > 0"
        tested.append(("C5.1", text, ours.text, printed, said))
    return judging.parts(tested)


def of_free(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.11: Free-Adv is behind ATDA, at each rate that both have and over their seeds.

    BIM and Madry's attack are not what Free-Adv falls to, so it is judged, as C6.1 is, by the attack of many steps
    that leaves it least of those that both met.
    """
    rows, tested = frame[frame.dataset == dataset], []
    if dataset not in BEHIND_ATDA:
        return judging.parts([])
    bim = attacks_of(rows)[0]
    printed = printed_of(dataset, bim, "atda") - printed_of(dataset, bim, "free")
    pairs = rows[rows.method.isin(["free", "atda"]) & rows.attack.isin(attacks_of(rows))]
    for lr in sorted(set(pairs.lr[pairs.method.eq("free")]) & set(pairs.lr[pairs.method.eq("atda")])):
        means = pairs[pairs.lr.eq(lr)].groupby(["attack", "method"], sort=False).true.mean().unstack()
        met = means.dropna()
        attack = met.free.idxmin() if len(met) else bim
        sides = [pairs[pairs.lr.eq(lr) & pairs.method.eq(m) & pairs.attack.eq(attack)] for m in ("atda", "free")]
        ours = difference(*sides)
        said = judging.near(ours.value, printed, within=5.0, spread=ours.half)
        text = f"ATDA - Free-Adv at rate {rate(lr)} under {attack}, which leaves Free-Adv least (the paper: {bim}) > 0"
        tested.append(("C5.11", text, ours.text, printed, said))
    return judging.parts(tested)


def of_over_perturbation(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.2: SIM-Adv with n1 < n2 does better than without; the rows are those of section 5.2 alone."""
    rows = frame[frame.dataset == dataset]
    tested: list[Part] = []
    for attack in attacks_of(rows):
        part = rows[rows.attack == attack]
        tested.append(
            ("C5.2", *_compared(part[part.n1 < part.n2].iloc[[0]], part[part.n1 >= part.n2].iloc[[0]], attack))
        )
    return judging.parts(tested)


def of_fig7(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.3: Madry-Adv does better at its smallest n1 than at n1 = n2, where the paper says so."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "madry")]
    tested: list[Part] = []
    for attack in attacks_of(rows) if dataset in WORSE_WITHOUT else ():
        part = rows[rows.attack == attack].sort_values("n1")
        tested.append(("C5.3", *_compared(part.iloc[[0]], part.iloc[[-1]], attack)))
    return judging.parts(tested)


def _compared(over: pd.DataFrame, under: pd.DataFrame, attack: str) -> tuple[str, str, None, str]:
    """Judge that one accuracy is above another; undecided where the interval of their difference is across 0."""
    ours = difference(over, under)
    said = judging.by_sign(ours.value, ours.half)
    return f"{over.iloc[0].title} - {under.iloc[0].title} under {attack} > 0", ours.text, None, said


def of_space(table: pd.DataFrame, toy: Toy) -> pd.DataFrame:
    """Return C5.4 to C5.7, section 5.3's and 5.4's, judged by :func:`simbook.tables.search_space.space`, over seeds."""
    of = table.groupby("method").mean(numeric_only=True)
    _, bim, fgsm, sim, _, free = toy.methods
    full = sim_adv.reach(toy.n1, toy.n2, epochs=toy.n2).full
    left = table.pivot(index="seed", columns="method", values=OPTIMAL)
    better = (left[sim] - left[fgsm]).dropna()
    said = judging.by_sign(better.mean(), of_mean(better)) if len(better) > 1 else judging.by_sign(better.mean())
    margin = f"{better.mean():.2f} ± {of_mean(better):.2f}" if len(better) > 1 else better.mean()
    tested = [
        ("C5.4", f"FGSM: nearly none inside (%): {NONE:g} - share inside", NONE - of.inside[fgsm]),
        ("C5.4", "places passed by BIM - those by FGSM", of.passed[bim] - of.passed[fgsm]),
        ("C5.5", "places passed by SIM - those by FGSM", of.passed[sim] - of.passed[fgsm]),
        (
            "C5.5",
            "epochs of a cycle that can be at full epsilon, by arithmetic (%) - 50",
            100 * (full == 100).mean() - 50,
        ),
    ]
    wider = judging.parts([("C5.6", f"withstand the {OPTIMAL}: SIM - FGSM > 0", margin, None, said)])
    narrow = [
        ("C5.7", "places trained on by FGSM - those by Free-Adv", of.cells[fgsm] - of.cells[free]),
        ("C5.7", f"Free-Adv: nearly none inside (%): {NONE:g} - share inside", NONE - of.inside[free]),
    ]
    table = pd.concat([judging.above_0(tested), wider, judging.above_0(narrow)], ignore_index=True)
    if of.clean[free] < LEARNED:  # where a net that learned nothing ends its search says nothing of the method
        table.loc[table.claim.eq("C5.7"), ["ours", "verdict"]] = (
            f"its nets have {of.clean[free]:.0f} % clean",
            judging.UNTESTED,
        )
    return table


def of_features(panels: Panels) -> pd.DataFrame:
    """Return C5.8, section 5.4's reading of Fig. 9, judged by the panels' numbers."""
    found = embedding.numbers(panels)
    found = found.set_axis(found.index.str[1]).reindex(list("abcd"))
    fooled, record = found.fooled["b"], next((record for name, record in panels.items() if name[1] == "b"), None)
    half = 0.0 if record is None else half_of_share(fooled, record["counts"][-1])
    shown = f"{fooled - 50:.2f} ± {half:.2f}" if record else math.nan
    apart = "Free-Adv, FGSM: apart from their targets: separable"
    tested = [
        ("C5.8", f"{apart} - {SEPARABLE:g}", found.separable["a"] - SEPARABLE),
        ("C5.8", f"{apart}, less SIM-Adv's", found.separable["a"] - found.separable["c"]),
        ("C5.8", "BIM: at home with SIM-Adv - with Free-Adv", found.at_home["d"] - found.at_home["b"]),
    ]
    misled = ("C5.8", "Free-Adv, BIM: fooled (%) - 50 > 0", shown, None, judging.by_sign(fooled - 50, half))
    return pd.concat([judging.above_0(tested), judging.parts([misled])], ignore_index=True)


def of_forgetting(falls: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.9 and C5.10: Free-Adv may forget, SIM-Adv has no such risk; by the largest falls of watched runs.

    What may happen is shown by one fall; none in a few runs leaves it undecided.
    """
    rows = falls[(falls.dataset == dataset) & (falls.reset != "staggered")]
    worst = rows.groupby("method")[["clean", "robust"]].max().max(axis=1).reindex(["free", "sim"])
    table = judging.above_0(
        [
            ("C5.9", f"Free-Adv: largest fall (points) - {FORGETS:g}", worst["free"] - FORGETS),
            ("C5.10", f"SIM-Adv: {FORGETS:g} - largest fall (points)", FORGETS - worst["sim"]),
        ]
    )
    unseen = table.claim.eq("C5.9") & table.verdict.eq(judging.FAILS)
    return table.assign(verdict=table.verdict.mask(unseen, judging.UNDECIDED))


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.tables.judging.gathered`."""
    others = sim_adv.neighbours(settings, found, store=store)
    every = found + others
    frame = sim_adv.accuracies(every + sim_adv.repeated(every, store=store), store=store)
    harder = sim_adv.accuracies(every, measures=lambda spec: chapters.stronger(spec.dataset)[1:], store=store)
    pair = sim_adv.accuracies(sim_adv.over_perturbed(settings, found), store=store)
    swept = sim_adv.accuracies([(spec, run) for spec, run in found if spec.method == "madry"], store=store)
    judged = {
        dataset: [
            of_training(frame, dataset),
            of_free(pd.concat([frame, harder], ignore_index=True), dataset),
            of_over_perturbation(pair, dataset),
            of_fig7(swept, dataset),
            of_forgetting(sim_adv.falls(found + others), dataset),
        ]
        for dataset in dict.fromkeys(spec.dataset for spec, _ in found)
    }
    pictured = embedding.pictured(settings)
    if pictured in judged:
        judged[pictured].append(of_features(sim_adv.fig9(settings, found, pictured, store=store)))
    toy = Toy()
    return judging.gathered(judged | {PLANE: [of_space(search_space.space(*search_spaces(toy), toy), toy)]})
