r"""The claims of section 6.3, judged by measured seconds."""

import math

import pandas as pd

from simadv.store import Store
from simbook import paper
from simbook.claims import judging
from simbook.settings import Settings
from simbook.tables import cost
from simbook.tables.common import Found
from simbook.tables.cost import Parts
from simbook.tables.spread import Margin

SAVED = {"mnist": 60.0, "fmnist": 60.0, "cifar10": 75.0}  # percent of BIM-Adv's time, as section 6.3 puts it
SAVED_OF_ATDA = 7.0  # percent
ALIKE = 10.0  # percent: how far apart two times may be that are called similar


def of_times(found: Parts, dataset: str) -> pd.DataFrame:
    """Return section 6.3's claims, C6.6 to C6.8 and C6.14, in percent of seconds, ours beside the paper's.

    Ours are seconds of short runs that had the device to themselves; what was measured beside other work is no basis.
    """
    ours = cost.seconds_of(found, dataset, alone=True)
    printed = {method: paper.TABLE5[method][dataset] for method in cost.TIMED}

    def saved(times: dict[str, float], method: str) -> float:
        return 100 * (1 - times.get("sim", math.nan) / times.get(method, math.nan))

    rows = [
        ("C6.6", "saved of BIM-Adv's seconds (%)", "bim", SAVED[dataset], 1),
        ("C6.7", "saved of ATDA's seconds (%)", "atda", SAVED_OF_ATDA, 1),
        ("C6.8", "seconds over Free-Adv's (%)", "free", 0.0, -1),
    ]
    table = []
    for claim, text, method, bound, sign in rows:
        own, of_paper = (sign * saved(times, method) for times in (ours, printed))
        table.append(judging.against(claim, text, own, above=bound, printed=of_paper))
    table.append(of_large_batches(found, dataset))
    # a step was divided into its parts on LeNet-5 alone
    part = math.nan if dataset == "cifar10" else carried_share(found, ours)
    table.append(judging.against("C6.8", "of that, what is not passes (%)", part, above=50))
    table.append(of_madry(found, dataset))
    return judging.parts(table)


def of_large_batches(found: Parts, dataset: str) -> judging.Part:
    """Return C6.7's part at batches of 128, where the two are near: undecided within the spread of the timings."""
    less, spread = ratio(cost.timed(found, dataset, alone=True, batch=128, methods=("sim", "atda")))
    text = "the same where ATDA has batches of 128, too: saved (%) [by the spread of the rounds]"
    return judging.against("C6.7", text, Margin(-less, spread))


def ratio(table: pd.DataFrame) -> tuple[float, float]:
    """Return by how much (%) the first of two times of :func:`simbook.tables.cost.timed` is above the second.

    And how far that may be off by the spread of the rounds.
    """
    if table.empty:
        return math.nan, math.nan
    times = table.seconds.iloc[0] / table.seconds.iloc[1]
    return 100 * (times - 1), 100 * times * math.hypot(*table.spread)


def of_madry(found: Parts, dataset: str) -> judging.Part:
    """Return C6.14's part: how far Madry-Adv's time is from BIM-Adv's, either way."""
    table = cost.timed(found, dataset, alone=True, methods=("madry", "bim"))
    apart, spread = ratio(table)
    return judging.against(
        "C6.14",
        "Madry-Adv's seconds beside BIM-Adv's: apart (%) [by the spread of the rounds]",
        Margin(abs(apart), spread, least=0.0),
        below=ALIKE,
    )


def carried_share(found: Parts, ours: dict[str, float]) -> float:
    """Return how much of the time that SIM-Adv takes more than Free-Adv is no pass and no update, in percent."""
    if not {"sim", "free"} <= ours.keys():
        return math.nan
    besides = next(part for part in found["training"] if part["about"]["alone"])["sim_step"]["rest"]
    return besides * ours["sim"] / (ours["sim"] - ours["free"])


def verdicts(
    found: Found, settings: Settings, *, store: Store | None = None, parts: Parts | None = None
) -> pd.DataFrame:
    """Return the parts of the page's claims, judged, by data set: :func:`simbook.claims.judging.gathered`."""
    parts = cost.parts() if parts is None else parts
    return judging.gathered({name: [of_times(parts, name)] for name in cost.datasets(settings)})
