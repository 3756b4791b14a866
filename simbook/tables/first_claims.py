r"""The claims of the abstract and of section 1, judged by chapter 6's tables and by the verdicts of other chapters."""

import math

import pandas as pd

from simadv.store import Store
from simbook import paper
from simbook.settings import EvaluationSettings
from simbook.tables import cost, evaluation, judging
from simbook.tables.common import Found
from simbook.tables.evaluation_claims import an_epoch, at_one_rate, gap, iterated, of_table3
from simbook.tables.spread import difference

#: The claims of later sections that a contribution is made of.
RESTS_ON = {"C1.5": ("C3.5", "C3.6", "C6.1"), "C1.6": ("C4.4", "C4.11"), "C1.7": ("C5.1", "C6.2", "C6.5")}


def of_abstract(frame: pd.DataFrame, found: Found, dataset: str) -> pd.DataFrame:
    """Return C1.1 to C1.4: what SIM-Adv gains over ATDA and gives to BIM-Adv and Madry-Adv, in accuracy and in time."""
    rows, bim = frame[(frame.dataset == dataset) & frame.true.notna()], iterated(frame, dataset)
    rows = rows[~rows.title.str.contains("staggered")]
    printed = paper.ABSTRACT if dataset == "cifar10" else {}
    bound = paper.ABSTRACT["accuracy_lost"]
    compared = [
        ("C1.1", "ATDA", "atda", 0.0),
        ("C1.4", "BIM-Adv", "bim", -bound),
        ("C1.4", "Madry-Adv", "madry", -bound),
    ]
    parts = []
    for claim, name, method, bar in compared:
        pair, text = at_one_rate(rows, method, bim), f"SIM-Adv - {name} under {bim}"
        printed_gap = gap(*pair, dataset, bim, method)
        parts.append(judging.against(claim, text, difference(*pair), above=bar, printed=printed_gap, within=5.0))
    passes, _ = an_epoch(found, dataset)
    seconds = cost.seconds_of(cost.parts(), dataset, alone=True) if dataset in paper.DATASETS else {}
    saved = [("C1.2", "ATDA, in its own batches", "atda", "seconds", seconds), ("C1.3", "BIM-Adv", "bim", "F", passes)]
    for claim, name, method, unit, ours in saved:
        share = 100 * (1 - ours.get("sim", math.nan) / ours.get(method, math.nan))
        text = f"{name}: saved of its {unit} (%; the paper: of its seconds)"
        parts.append(judging.against(claim, text, share, printed=printed.get(f"time_saved_{method}", math.nan)))
    return judging.parts(parts)


def of_contributions(table: pd.DataFrame) -> pd.DataFrame:
    """Return C1.5 to C1.7, each a part for every claim that it rests on, as that was judged on each data set.

    Args:
        table: the parts of all other claims, as :func:`simbook.tables.judging.told` returns them.
    """
    parts = []
    for claim, others in RESTS_ON.items():
        some = table[table.claim.isin(others)]
        if claim == "C1.5":  # C6.1 is about Free-Adv as well
            some = some[some.claim.ne("C6.1") | some.part.str.startswith("ATDA")]
        for (other, dataset), rows in some.groupby(["claim", "dataset"], sort=False):
            said = judging.together(rows.verdict)
            which = " (what it says of ATDA)" * (claim == "C1.5" and other == "C6.1")
            parts.append((claim, f"{other}{which}: {rows.text.iloc[0]}", f"see {other}", None, said, dataset))
    return pd.DataFrame(parts, columns=[*judging.PART, "dataset"]).assign(paper="-")


def verdicts(
    table: pd.DataFrame, found: Found, settings: EvaluationSettings, *, store: Store | None = None
) -> pd.DataFrame:
    """Return the parts of section 1's claims: those of the abstract on CIFAR10, or on what stands in for it.

    Args:
        table: the parts of all other claims.
        found: chapter 6's runs.
    """
    first = of_table3(found, settings, seeds=False)
    frame = evaluation.accuracies(of_table3(found, settings), store=store)
    datasets = ["cifar10"] if "cifar10" in settings.datasets else settings.datasets
    own = [of_abstract(frame, first, dataset).assign(dataset=dataset) for dataset in datasets]
    return judging.told(pd.concat([*own, of_contributions(table)], ignore_index=True))
