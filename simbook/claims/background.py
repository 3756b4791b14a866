r"""The claims of section 2, judged by the tables of chapter 2."""

import math

import pandas as pd

from simadv.store import Store
from simbook.claims import judging
from simbook.settings import Settings
from simbook.tables import spread
from simbook.tables.background import AS, ITERATED, printed, steps, strength
from simbook.tables.common import Found, share_of
from simbook.tables.evaluation import accuracies

ALMOST = 95  # percent: what "almost every" asks at the least


def judge(ours: float, low: float, high: float, *, above: float = 0.0) -> str:
    """Return the verdict on the claim that ``ours`` is above a number, undecided where its interval has it inside."""
    said = judging.by_sign(ours - above)
    inside = low < above < high or (said == judging.HOLDS and low <= above)
    return judging.UNDECIDED if inside else said


def tested(power: pd.DataFrame, path: pd.DataFrame, rows: pd.DataFrame) -> list[tuple[float, float, float]]:
    """Return the number of each claim with its interval, NaN where not run: C2.1, C2.2, C2.3 of one net."""
    found: list[tuple[float, float, float]] = [(math.nan,) * 3] * 3
    # of the whole test set, the first images of which may be easier than the rest
    single, others = rows[rows.attack.eq("FGSM")], rows[~rows.attack.isin(["Original", "FGSM"])]
    gaps = [spread.difference(single, of) for _, of in others.groupby("attack")]
    known = [] if any(math.isnan(gap.value) for gap in gaps) else gaps  # the weaker of two is of both
    for least in sorted(known, key=lambda gap: gap.value)[:1]:
        found[0] = (least.value, least.value - least.half, least.value + least.half)
    full = power[power.share == 1]
    if len(full):
        of_attack = full.set_index("attack")
        found[1] = share_of(of_attack.turned[ITERATED[0]], of_attack.correct["Original"])
    if len(path):
        last = path[path.rule == AS["literal"]].iloc[-1]
        found[2] = share_of(last.outside, last.images)
    return found


def claims(power: pd.DataFrame, path: pd.DataFrame, frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return section 2's claims, C2.1 to C2.3, as numbers with their 95 % interval that must be above another.

    Args:
        power, path: what :func:`strength` and :func:`steps` return; Vanilla decides.
        frame: :func:`simbook.tables.evaluation.accuracies`, of the whole test set.
    """
    names = {
        "C2.1": ("accuracy under FGSM less that under the weaker of BIM and Madry (points)", 0),
        "C2.2": ("images turned by BIM(10,40) of those classified correctly (%)", ALMOST),
        "C2.3": ("images outside the ball after BIM(10,40) as printed (%)", 0),
    }
    ours = tested(*(of[of.dataset.eq(dataset) & of.method.eq("vanilla")] for of in (power, path, frame)))
    rows = printed(dataset)
    both = set(ITERATED) <= rows.keys()
    papers = [rows["FGSM"] - max(rows[attack] for attack in ITERATED) if both else None, None, None]
    judged = []
    for (claim, (what, above)), (value, low, high), of_paper in zip(names.items(), ours, papers, strict=True):
        text = value if math.isnan(value) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
        judged.append((claim, f"{what} > {above}", text, of_paper, judge(value, low, high, above=above)))
    return judging.parts(judged)


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.claims.judging.gathered`."""
    power, path, frame = strength(found, store=store), steps(found, store=store), accuracies(found, store=store)
    return judging.gathered({dataset: [claims(power, path, frame, dataset)] for dataset in settings.datasets})
