r"""How claims are judged: parts with a verdict each, and one verdict a claim and data set, in every chapter alike."""

import math
import tomllib
from pathlib import Path

import pandas as pd

from simbook.tables.common import NAMES, NOT_RUN
from simbook.tables.spread import Margin

#: What each claim says and where the paper says it, by its number.
CLAIMS = tomllib.loads((Path(__file__).parents[1] / "claims.toml").read_text(encoding="utf-8"))
# from the worst to the best
FAILS, UNDECIDED, DIRECTION, HOLDS = VERDICTS = ("does not hold", "undecided", "holds in direction", "holds")
UNTESTED = "not tested"
#: A part of a claim: the claim's number, what is measured, ours, the paper's number or word, the verdict.
Part = tuple[str, str, float | str, float | str | None, str]
PART = ["claim", "part", "ours", "paper", "verdict"]
COLUMNS = ["claim", "text", "where", "dataset", "part", "paper", "ours", "verdict"]


def by_sign(margin: float, spread: float = 0.0) -> str:
    """Judge a claim by the sign of its margin; undecided within its spread."""
    if pd.isna(margin):
        return UNTESTED
    return UNDECIDED if 0 < spread >= abs(margin) else HOLDS if margin > 0 else FAILS


def against(
    claim: str,
    text: str,
    ours: Margin | float,
    *,
    above: float = 0.0,
    below: float | None = None,
    printed: float = math.nan,
    within: float = math.inf,
) -> Part:
    """Return a part of a claim that is judged by a bar: ours must be ``above`` it, or ``below`` it where that is given.

    It is undecided where the bar lies within the interval of ours; what holds and is further than ``within`` (points)
    from the paper's number holds in direction, where the paper has one.
    """
    ours = ours if isinstance(ours, Margin) else Margin(float(ours), 0.0)
    margin, rule = (ours.value - above, f"> {above:g}") if below is None else (below - ours.value, f"< {below:g}")
    said = by_sign(margin, ours.half)
    far = abs(ours.value - printed) > within
    return claim, f"{text} {rule}", ours.text, printed, DIRECTION if said == HOLDS and far else said


def parts(rows: list[Part]) -> pd.DataFrame:
    """Return parts of claims as a frame of :data:`PART`, numbers as text."""
    table = pd.DataFrame(rows, columns=PART)
    for column, nothing in (("ours", NOT_RUN), ("paper", "-")):
        known = [value if isinstance(value, str) or pd.isna(value) else f"{value:.2f}" for value in table[column]]
        table[column] = [nothing if pd.isna(value) else value for value in known]
    return table


def gathered(tables: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """Return the :func:`parts` of a chapter's claims by data set as one frame, see :func:`told`."""
    frames = [part.assign(dataset=name) for name, some in tables.items() for part in some]
    return told(pd.concat(frames, ignore_index=True) if frames else pd.DataFrame())


def told(table: pd.DataFrame) -> pd.DataFrame:
    """Return parts of claims with what each claim says and where, :data:`COLUMNS`, in the order of the claims."""
    table = table.reindex(columns=COLUMNS)
    for place, column in enumerate(("text", "where")):
        table[column] = [CLAIMS[claim][place] for claim in table.claim]
    order = list(CLAIMS)
    return table.sort_values("claim", key=lambda claims: claims.map(order.index), kind="stable", ignore_index=True)


def of_claims(table: pd.DataFrame, *claims: str) -> pd.DataFrame:
    """Return the parts of some claims of :func:`told`, by default of all, as a table to read."""
    some = table[table.claim.isin(claims or CLAIMS)]
    some = some.assign(dataset=some.dataset.replace(NAMES)).rename(
        columns={"dataset": "data set", "paper": "the paper"}
    )
    return some.set_index(["claim", "data set", "part"])[["ours", "the paper", "verdict"]]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one verdict for each claim and data set of :func:`told`; ``-`` where a claim is not about it."""
    said = table.groupby(["claim", "dataset"], sort=False).verdict.agg(together).unstack(sort=False)
    said = said.reindex(table.claim.unique()).fillna("-").rename(columns=NAMES).rename_axis(columns=None)
    said.insert(0, "the claim", [CLAIMS[claim][0] for claim in said.index])
    return said


def by_dataset(table: pd.DataFrame) -> str:
    """Return the verdicts on one claim of :func:`told` as words: what holds on which data set."""
    of = table.groupby("dataset", sort=False).verdict.agg(together)
    if len(of) == 2 and of.nunique() == 1:
        return f"{of.iloc[0]} on {'either' if of.iloc[0] == FAILS else 'both'}"
    return ", ".join(f"{verdict} on {NAMES[dataset]}" for dataset, verdict in of.items())


def together(verdicts: pd.Series) -> str:
    """Return the verdict on a claim from its parts: the worst of them; untested where one is, unless another fails."""
    tested = [verdict for verdict in verdicts if verdict != UNTESTED]
    worst = min(tested, key=VERDICTS.index, default=UNTESTED)
    return worst if worst == FAILS or len(tested) == len(verdicts) else UNTESTED
