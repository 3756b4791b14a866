r"""The claims of section 6, judged by the tables of chapter 6."""

import math

import pandas as pd

from simadv import paper
from simadv.runs import passes_per_image
from simadv.store import Store
from simbook import chapters
from simbook.settings import EvaluationSettings
from simbook.tables import evaluation, judging
from simbook.tables.common import Found, among
from simbook.tables.spread import difference

LOST = 4.0  # points: what the paper calls a reasonable price


def of_accuracies(frame: pd.DataFrame, dataset: str, *, within: float = 5.0) -> pd.DataFrame:
    """Return section 6.2's claims, C6.1 to C6.4, as differences in points that must be above 0.

    Ours are under true labels, each method at the better of its rates under BIM, except where the claim is about the
    rate; a mean over the seeds that both have, where there are several.
    """
    rows = frame[(frame.dataset == dataset) & ~frame.title.str.contains("staggered") & frame.true.notna()]
    bim, rates = iterated(frame, dataset), paper.TABLE4.get(dataset, {})
    tested = [
        (
            "C6.1",
            f"{name}: FGSM - {bim}",
            best(rows, m, "FGSM"),
            best(rows, m, bim),
            0.0,
            gap(dataset, "FGSM", m, bim, m),
        )
        for m, name in (("free", "Free-Adv"), ("atda", "ATDA"))
    ]
    others = [("C6.2", m, name, 0.0) for m, name in (("vanilla", "Vanilla"), ("free", "Free-Adv"), ("atda", "ATDA"))]
    others += [("C6.3", m, name, LOST) for m, name in (("bim", "BIM-Adv"), ("madry", "Madry-Adv"))]
    for claim, m, name, plus in others:
        text = f"SIM-Adv - {name} under {bim}" + f", + {plus:g}" * (plus > 0)
        pair = best(rows, "sim", bim), best(rows, m, bim)
        tested.append((claim, text, *pair, plus, gap(dataset, bim, "sim", bim, m) + plus))
    if rates:
        pair = (best(rows[rows.lr == lr], "sim", bim) for lr in (1e-4, 1e-3))
        text = f"SIM-Adv: rate 1e-4 - rate 1e-3 under {bim}"
        tested.append(("C6.4", text, *pair, 0.0, rates[1e-4][bim] - rates[1e-3][bim]))
    judged = []
    for claim, text, first, second, plus, printed in tested:
        ours, shown = difference(first, second, plus=plus)
        judged.append((claim, f"{text} > 0", shown, printed, judging.near(ours, printed, within=within)))
    return judging.parts(judged)


def iterated(frame: pd.DataFrame, dataset: str) -> str | None:
    """Return the first iterated attack of a data set's rows."""
    attacks = frame[frame.dataset == dataset].attack.unique()
    return next((name for name in attacks if name.startswith("BIM")), None)


def best(rows: pd.DataFrame, method: str, attack: str) -> pd.DataFrame:
    """Return a method's accuracies under an attack, one a seed, at the rate that is best under BIM on average."""
    part = rows[rows.method == method]
    means = part[part.attack.str.startswith("BIM")].groupby("lr").true.mean()
    return part[(part.attack == attack) & (part.lr == (means.idxmax() if len(means) else math.nan))]


def gap(dataset: str, attack: str, method: str, other_attack: str, other: str) -> float:
    """Return by how many points two accuracies of Table 3 differ; NaN where it has not both."""
    table = paper.TABLE3.get(dataset, {})
    return table.get(attack, {}).get(method, math.nan) - table.get(other_attack, {}).get(other, math.nan)


def an_epoch(found: Found, dataset: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the gradient passes of an epoch by method, and its seconds where the run had the processor alone."""
    passes, seconds = {}, {}
    for spec, run in [(spec, run) for spec, run in found if spec.dataset == dataset and spec.reset != "staggered"]:
        passes[spec.method] = sum(passes_per_image(spec)) * spec.passes_over_data / spec.epochs
        if run is not None and run.provenance["alone"]:
            seconds[spec.method] = run.cost["seconds"] / spec.epochs
    return passes, seconds


def of_costs(found: Found, dataset: str) -> pd.DataFrame:
    """Return section 6.3's claim, C6.5: BIM-Adv by gradient passes, whatever the machine; ATDA by seconds.

    ATDA takes the passes of SIM-Adv, so only a clock can tell them apart: of runs that had the processor alone.
    """
    passes, seconds = an_epoch(found, dataset)
    rows = []
    for method, name, unit, ours in (("bim", "BIM-Adv", "F", passes), ("atda", "ATDA", "seconds", seconds)):
        totals = [paper.TABLE5[of].get(dataset, math.nan) for of in (method, "sim")]
        more = 100 * (ours.get(method, math.nan) / ours.get("sim", math.nan) - 1)
        text = f"{name}: what an epoch costs more than SIM-Adv's (% of {unit}; the paper: of seconds in all) > 0"
        rows.append(("C6.5", text, more, 100 * (totals[0] / totals[1] - 1), judging.by_sign(more)))
    return judging.parts(rows)


def of_table3(found: Found, settings: EvaluationSettings, *, seeds: bool = True) -> Found:
    """Return the runs of Table 3 alone, with those of its other seeds or without."""
    rows = chapters.evaluation_runs(settings)
    return among(found, [*rows, *chapters.seed_runs(settings)] if seeds else rows)


def verdicts(found: Found, settings: EvaluationSettings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.tables.judging.gathered`."""
    frame, first = (
        evaluation.accuracies(of_table3(found, settings), store=store),
        of_table3(found, settings, seeds=False),
    )
    return judging.gathered(
        {dataset: [of_accuracies(frame, dataset), of_costs(first, dataset)] for dataset in settings.datasets}
    )
