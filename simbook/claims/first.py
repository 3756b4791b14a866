r"""The claims of the abstract and of section 1, judged by chapter 6's tables and by the verdicts of other chapters."""

import math

import pandas as pd

from simadv.store import Store
from simbook import paper
from simbook.claims import judging
from simbook.claims.evaluation import ALONE, FAR, ITERATIVE, an_epoch, at_one_rate, behind, gap, iterated, of_table3
from simbook.settings import EvaluationSettings
from simbook.tables import cost, evaluation
from simbook.tables.common import Found
from simbook.tables.spread import difference

#: The claims of later sections that a contribution is made of, and the one method that it speaks of, where that is all.
RESTS_ON = {
    "C1.5": {"C3.6": None, "C6.1": "atda"},
    "C1.6": {"C4.4": None, "C6.3": None, "C6.6": None},
    "C1.7": {"C6.2": "sim", "C6.5": None},
}
MOST = 50.0  # percent: what "saves most" asks at the least


def of_abstract(frame: pd.DataFrame, found: Found, dataset: str) -> pd.DataFrame:
    """Return C1.1 to C1.4: what SIM-Adv gains over ATDA and gives to BIM-Adv and Madry-Adv, in accuracy and in time."""
    rows, bim = frame[(frame.dataset == dataset) & frame.true.notna()], iterated(frame, dataset)
    rows = rows[~rows.title.str.contains("staggered")]
    printed = paper.ABSTRACT if dataset == "cifar10" else {}
    bound = paper.ABSTRACT["accuracy_lost"]
    compared = [
        (
            "C1.1",
            f"SIM-Adv - ATDA under {bim}",
            difference(*at_one_rate(rows, "atda", bim)),
            gap(dataset, bim, "atda"),
            FAR,
        )
    ]
    for method, name in ITERATIVE.items():
        compared += [("C1.4", *part, -bound) for part in behind(rows, dataset, bim, method, name)]
    parts = [
        judging.against(claim, text, ours, above=bar, printed=known, within=5.0)
        for claim, text, ours, known, bar in compared
    ]
    passes, _ = an_epoch(found, dataset)
    seconds = cost.seconds_of(cost.parts(), dataset, alone=True) if dataset in paper.DATASETS else {}
    saved = [
        ("C1.2", "ATDA, in its own batches", "atda", "seconds", seconds, 0.0),
        ("C1.3", "BIM-Adv", "bim", "F", passes, MOST),
    ]
    for claim, name, method, unit, ours, bar in saved:
        share = 100 * (1 - ours.get("sim", math.nan) / ours.get(method, math.nan))
        text = f"{name}: saved of its {unit} (%; the paper: of its seconds)"
        known = printed.get(f"time_saved_{method}", math.nan)
        parts.append(judging.against(claim, text, share, above=bar, printed=known))
    return judging.parts(parts)


def of_contributions(table: pd.DataFrame) -> pd.DataFrame:
    """Return C1.5 to C1.7, each a part for every claim that it rests on, as that was judged on each data set.

    Args:
        table: the parts of all other claims, as :func:`simbook.claims.judging.told` returns them.
    """
    parts = []
    for claim, others in RESTS_ON.items():
        for other, method in others.items():
            some = table[table.claim.eq(other)]
            which = f" (what it says of {ALONE[method]} alone)" if method else ""
            some = some[some.part.str.startswith(f"{ALONE[method]}: ")] if method else some
            for dataset, rows in some.groupby("dataset", sort=False):
                said = judging.together(rows.verdict)
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
