r"""The claims of section 6, judged by the tables of chapter 6."""

import math

import pandas as pd

from simadv import paper
from simadv.runs import passes_per_image
from simadv.store import Store
from simbook.settings import Settings
from simbook.tables import evaluation, judging
from simbook.tables.common import Found

LOST = 4.0  # points: what the paper calls a reasonable price


def of_accuracies(frame: pd.DataFrame, dataset: str, *, within: float = 5.0) -> pd.DataFrame:
    """Return section 6.2's claims, C6.1 to C6.4, as differences in points that must be above 0.

    Ours are under true labels, each method at the better of its rates, except where the claim is about the rate.
    """
    rows = frame[(frame.dataset == dataset) & ~frame.title.str.contains("staggered")]
    bim = next((name for name in rows.attack.unique() if name.startswith("BIM")), None)

    def ours(method: str, attack: str, lr: float | None = None) -> float:
        part = rows[(rows.method == method) & (rows.attack == attack) & ((rows.lr == lr) | (lr is None))]
        return part.true.max() if part.true.notna().any() else math.nan

    def printed(method: str, attack: str) -> float:
        return paper.TABLE3.get(dataset, {}).get(attack, {}).get(method, math.nan)

    tested = [
        ("C6.1", f"{name}: FGSM - {bim}", *[of(m, "FGSM") - of(m, bim) for of in (ours, printed)])
        for m, name in (("free", "Free-Adv"), ("atda", "ATDA"))
    ]
    tested += [
        ("C6.2", f"SIM-Adv - {name} under {bim}", *[of("sim", bim) - of(m, bim) for of in (ours, printed)])
        for m, name in (("vanilla", "Vanilla"), ("free", "Free-Adv"), ("atda", "ATDA"))
    ]
    tested += [
        (
            "C6.3",
            f"SIM-Adv - {name} under {bim}, + {LOST:g}",
            *[of("sim", bim) - of(m, bim) + LOST for of in (ours, printed)],
        )
        for m, name in (("bim", "BIM-Adv"), ("madry", "Madry-Adv"))
    ]
    if rates := paper.TABLE4.get(dataset):
        gain = ours("sim", bim, 1e-4) - ours("sim", bim, 1e-3)
        tested.append(
            ("C6.4", f"SIM-Adv: rate 1e-4 - rate 1e-3 under {bim}", gain, rates[1e-4][bim] - rates[1e-3][bim])
        )
    judged = [(*row, judging.near(*row[2:], within=within)) for row in tested]
    return judging.parts([(claim, f"{text} > 0", *rest) for claim, text, *rest in judged])


def of_costs(found: Found, dataset: str) -> pd.DataFrame:
    """Return section 6.3's claim, C6.5: BIM-Adv by gradient passes, whatever the machine; ATDA by seconds.

    ATDA takes the passes of SIM-Adv, so only a clock can tell them apart: of runs that had the processor alone.
    """
    passes, seconds = {}, {}
    for spec, run in [(spec, run) for spec, run in found if spec.dataset == dataset and spec.reset != "staggered"]:
        passes[spec.method] = sum(passes_per_image(spec)) * spec.passes_over_data / spec.epochs
        if run is not None and run.provenance["alone"]:
            seconds[spec.method] = run.cost["seconds"] / spec.epochs
    rows = []
    for method, name, unit, ours in (("bim", "BIM-Adv", "F", passes), ("atda", "ATDA", "seconds", seconds)):
        totals = [paper.TABLE5[of].get(dataset, math.nan) for of in (method, "sim")]
        more = 100 * (ours.get(method, math.nan) / ours.get("sim", math.nan) - 1)
        text = f"{name}: what an epoch costs more than SIM-Adv's (% of {unit}; the paper: of seconds in all) > 0"
        rows.append(("C6.5", text, more, 100 * (totals[0] / totals[1] - 1), judging.by_sign(more)))
    return judging.parts(rows)


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.tables.judging.gathered`."""
    frame = evaluation.accuracies(found, store=store)
    return judging.gathered(
        {dataset: [of_accuracies(frame, dataset), of_costs(found, dataset)] for dataset in settings.datasets}
    )
