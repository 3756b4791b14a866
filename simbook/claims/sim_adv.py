r"""The claims of section 5, judged by the tables of chapter 5."""

import numpy as np
import pandas as pd

from simadv.store import Store
from simbook import chapters
from simbook.claims import judging
from simbook.claims.evaluation import FAR, at_one_rate, gap, lead, where
from simbook.claims.judging import Part, against
from simbook.measures.search_space import OPTIMAL, Toy, search_spaces
from simbook.settings import Settings
from simbook.tables import embedding, search_space, sim_adv
from simbook.tables.common import Found, rate
from simbook.tables.embedding import SEPARABLE, Panels
from simbook.tables.spread import Margin, difference, half_of_share, of_mean

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
    for method, name, bar in (
        ("free", "Free-Adv", lead("free", dataset)),
        ("bim", "BIM-Adv", -NEAR),
        ("madry", "Madry-Adv", -NEAR),
    ):
        pair = at_one_rate(rows, method, bim)
        text, printed = f"SIM-Adv - {name} under {bim}{where(*pair)}", gap(dataset, bim, method)
        tested.append(against("C5.1", text, difference(*pair), above=bar, printed=printed, within=5.0))
    return judging.parts(tested)


def of_free(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.11: Free-Adv is behind ATDA, over their seeds, at the rate that the paper's ATDA has in Table 3.

    That is the higher one; where the paper has no row it is each rate that both have. As C6.1 it is judged by Table
    3's BIM, and by the attack of many steps that leaves Free-Adv least of those that both met.
    """
    rows, tested = frame[frame.dataset == dataset], []
    if dataset not in BEHIND_ATDA:
        return judging.parts([])
    bim = attacks_of(rows)[0]
    pairs = rows[rows.method.isin(["free", "atda"]) & rows.attack.isin(attacks_of(rows))]
    both = set(pairs.lr[pairs.method.eq("free")]) & set(pairs.lr[pairs.method.eq("atda")])
    in_table3 = set(pairs.lr[pairs.method.eq("atda") & pairs.attack.eq(bim) & pairs.paper.notna()])
    for lr in sorted(both & in_table3 or both):
        means = pairs[pairs.lr.eq(lr)].groupby(["attack", "method"], sort=False).true.mean().unstack()
        met = means.dropna()
        at = pairs[pairs.lr.eq(lr)]
        for attack in dict.fromkeys((bim, met.free.idxmin() if len(met) else bim)):
            sides = [at[at.method.eq(m) & at.attack.eq(attack)] for m in ("atda", "free")]
            printed = gap(dataset, attack, "free", first="atda")
            text = f"ATDA - Free-Adv at rate {rate(lr)} under {attack}" + ", which leaves Free-Adv least" * (
                attack != bim
            )
            tested.append(against("C5.11", text, difference(*sides), printed=printed, within=5.0))
    return judging.parts(tested)


def of_over_perturbation(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.2: SIM-Adv with n1 < n2 does better than without; the rows are those of section 5.2, all seeds."""
    rows = frame[frame.dataset == dataset]
    tested: list[Part] = []
    for attack in attacks_of(rows):
        part = rows[rows.attack == attack]
        tested.append(_ahead("C5.2", part[part.n1 < part.n2], part[part.n1 >= part.n2], attack))
    return judging.parts(tested)


def without_over_perturbation(pair: pd.DataFrame, frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.12: SIM-Adv with n1 = n2 is a defence, far ahead of Vanilla, and behind BIM-Adv; all at its rate.

    Args:
        pair: the rows of section 5.2. frame: those of the methods that it is compared with.
    """
    own = pair[pair.dataset.eq(dataset) & (pair.n1 >= pair.n2)]
    if own.empty:
        return judging.parts([])
    bim, name = attacks_of(own)[0], own.title.iloc[0]
    own = own[own.attack.eq(bim)]
    others = frame[frame.dataset.eq(dataset) & frame.attack.eq(bim) & frame.lr.eq(own.lr.iloc[0])]
    vanilla, iterated = (others[others.method.eq(method)] for method in ("vanilla", "bim"))
    at = f"under {bim} at rate {rate(own.lr.iloc[0])}"
    return judging.parts(
        [
            against("C5.12", f"{name} - Vanilla {at}", difference(own, vanilla), above=FAR),
            against("C5.12", f"BIM-Adv - {name} {at}", difference(iterated, own)),
        ]
    )


def of_fig7(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.3: Madry-Adv does better at its smallest n1 than at n1 = n2, where the paper says so."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "madry")]
    tested: list[Part] = []
    for attack in attacks_of(rows) if dataset in WORSE_WITHOUT else ():
        part = rows[rows.attack == attack].sort_values("n1")
        tested.append(_ahead("C5.3", part.iloc[[0]], part.iloc[[-1]], attack))
    return judging.parts(tested)


def _ahead(claim: str, over: pd.DataFrame, under: pd.DataFrame, attack: str) -> Part:
    """Judge that one accuracy is above another; undecided where the interval of their difference is across 0."""
    text = f"{over.iloc[0].title} - {under.iloc[0].title} under {attack}"
    return against(claim, text, difference(over, under))


def of_space(table: pd.DataFrame, toy: Toy) -> pd.DataFrame:
    """Return C5.4 to C5.7, section 5.3's and 5.4's, judged by :func:`simbook.tables.search_space.space`, over seeds."""
    of = table.groupby("method").mean(numeric_only=True)
    _, bim, fgsm, sim, _, free = toy.methods
    full = sim_adv.reach(toy.n1, toy.n2, epochs=toy.n2).full
    left = table.pivot(index="seed", columns="method", values=OPTIMAL)
    better = (left[sim] - left[fgsm]).dropna()
    wider = Margin(better.mean(), of_mean(better) if len(better) > 1 else 0.0)
    reached = 100 * (full == 100).mean()
    table = judging.parts(
        [
            against("C5.4", "FGSM: share inside (%)", of.inside[fgsm], below=NONE),
            against("C5.4", "places passed by BIM - those by FGSM", of.passed[bim] - of.passed[fgsm]),
            against("C5.5", "places passed by SIM - those by FGSM", of.passed[sim] - of.passed[fgsm]),
            against("C5.5", "epochs of a cycle that can be at full epsilon, by arithmetic (%)", reached, above=50),
            against("C5.6", f"withstand the {OPTIMAL} (%): SIM - FGSM", wider),
            against("C5.7", "places trained on by FGSM - those by Free-Adv", of.cells[fgsm] - of.cells[free]),
            against("C5.7", "Free-Adv: share inside (%)", of.inside[free], below=NONE),
        ]
    )
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
    line, home = (found[names] for names in (["separable", "separable_half"], ["at_home", "home_half"]))
    apart = "FGSM: separable from their targets (%)"
    return judging.parts(
        [
            against("C5.8", f"{apart}, Free-Adv", Margin(*line.loc["a"], most=100.0), above=SEPARABLE),
            against("C5.8", f"{apart}, Free-Adv - SIM-Adv", embedding.gap(line, "a", "c")),
            against("C5.8", "BIM: at home (%), SIM-Adv - Free-Adv", embedding.gap(home, "d", "b")),
            against("C5.8", "BIM: fooled (%), Free-Adv", Margin(fooled, half, most=100.0), above=50),
        ]
    )


def of_forgetting(falls: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return C5.9 and C5.10: Free-Adv may forget, SIM-Adv has no such risk; by the largest falls of watched runs.

    What may happen is shown by one fall; none in a few runs leaves it undecided. Training swings, so a fall no larger
    than BIM-Adv's is none. Robust accuracy of SIM-Adv is compared from the end of a cycle to that of another: what
    its resets take within one is no matter of replays, which the paper speaks of here (chapter 7 judges it, C7.12).
    """
    rows = falls[(falls.dataset == dataset) & (falls.reset != "staggered")]
    rows = rows[rows.method.ne("sim") | (rows.n1 < rows.n2)]  # with over-perturbation alone, as C5.1
    rows = rows.assign(robust=rows.ends.fillna(rows.robust))
    worst = rows.groupby("method")[["clean", "robust"]].max().max(axis=1).reindex(["free", "sim", "bim"])
    usual = max(FORGETS, np.nan_to_num(worst["bim"]))
    fall, bar = "largest fall (points)", ", the bar is BIM-Adv's" if usual > FORGETS else ""
    table = judging.parts(
        [
            against("C5.9", f"Free-Adv: {fall}{bar}", worst["free"], above=usual),
            against(
                "C5.10",
                f"SIM-Adv: {fall} of clean accuracy, or of robust from a cycle's end{bar}",
                worst["sim"],
                below=usual,
            ),
        ]
    )
    unseen = table.claim.eq("C5.9") & table.verdict.eq(judging.FAILS)
    return table.assign(verdict=table.verdict.mask(unseen, judging.UNDECIDED))


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.claims.judging.gathered`."""
    others = sim_adv.neighbours(settings, found, store=store)
    every = found + others
    every_seed = every + sim_adv.repeated(every, store=store)
    frame = sim_adv.accuracies(every_seed, store=store)
    harder = sim_adv.accuracies(every, measures=lambda spec: chapters.stronger(spec.dataset)[1:], store=store)
    two = sim_adv.over_perturbed(settings, found)
    pair = sim_adv.accuracies(two + sim_adv.repeated(two, store=store), store=store)
    plain = sim_adv.accuracies(sim_adv.neighbours(settings, found, methods=("vanilla",), store=store), store=store)
    swept = sim_adv.accuracies([(spec, run) for spec, run in found if spec.method == "madry"], store=store)
    judged = {
        dataset: [
            of_training(frame, dataset),
            of_free(pd.concat([frame, harder], ignore_index=True), dataset),
            of_over_perturbation(pair, dataset),
            without_over_perturbation(pair, pd.concat([frame, plain], ignore_index=True), dataset),
            of_fig7(swept, dataset),
            of_forgetting(sim_adv.falls(every_seed), dataset),
        ]
        for dataset in dict.fromkeys(spec.dataset for spec, _ in found)
    }
    pictured = embedding.pictured(settings)
    if pictured in judged:
        judged[pictured].append(of_features(sim_adv.fig9(settings, found, pictured, store=store)))
    toy = Toy()
    return judging.gathered(judged | {PLANE: [of_space(search_space.space(*search_spaces(toy), toy), toy)]})
