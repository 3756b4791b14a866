r"""What was found in chapters 4.1 and 4.2, in sentences whose every number comes from the store."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from simadv.specs import RunSpec
from simbook.tables.common import rate, title
from simbook.tables.curves import NAMES, Curve, Lines
from simbook.tables.iterated import AROUND, GOOD, WITHIN, saturates, turns


def sentences(parts: list[str], lines: Lines) -> str:
    """Return sentences as a Markdown list, the last of which names what was not run."""
    missing = [f"{NAMES[s.dataset]}: {title(s)} at {rate(s.lr)}" for s, curves in lines.items() if not curves]
    last = [f"Not run yet: {'; '.join(missing)}."] if missing else []
    return "\n".join(f"- {sentence}" for sentence in [*parts, *last])


def steps_needed(lines: Lines, table: pd.DataFrame) -> str:
    """Return the answer of chapter 4.1 in words, of what was run.

    Args:
        table: :func:`simbook.tables.iterated.training`.
    """
    told = [f"on {of(spec)} from n = {saturates(curves[0])[0]}" for spec, curves in lines.items() if curves]
    if not told:
        return "Nothing was run yet."
    said = "**How many steps does an attack need?** On a net that stands still BIM(n,n) comes within "
    said += f"{100 * WITHIN:.0f} % of the errors of BIM(30,30) {', '.join(told)}."
    for dataset, few, longer in beside(table):
        said += f" In training, {few.net} keeps {few.iterated:.1f} % on {NAMES[dataset]} under {few.attack}, and"
        said += f" {longer.net} {longer.iterated:.1f} %."
    return said


def robust(lines: Lines) -> Iterator[tuple[RunSpec, list[Curve]]]:
    """Yield the BIM-Adv nets whose curves are all defined, with these from the smallest n1 on."""
    for spec, curves in lines.items():
        if spec.method == "bim" and curves and not any(np.isnan(curve.rho).any() for curve in curves):
            yield spec, sorted(curves, key=lambda curve: curve.n1)


def first_steps(lines: Lines) -> str:
    """Return the answer of chapter 4.2 in words, of what was run."""
    told, near = [], []
    for spec, curves in robust(lines):
        turned = [turns(curve)[0] for curve in curves]
        near += [abs(at - curve.n1) <= 1 for at, curve in zip(turned, curves, strict=True)]
        own = lines[spec][0]
        text = f"on {of(spec)} at i = {listed(turned)} with n1 = {listed(curve.n1 for curve in curves)}"
        told.append(f"{text} (rho is {own.rho[turns(own)[0]]:.2f} there with n1 = {own.n1:g})")
    if not told:
        return "No robust net was run yet."
    said = f"**What are the first steps of an attack worth?** The curve of a robust net turns {'; '.join(told)}. "
    if all(near):
        return f"{said}Each turn is within a step of n1, where a pixel can first have used all of epsilon."
    return f"{said}{near.count(False)} of {len(near)} turns are more than a step from n1."


def of(spec: RunSpec) -> str:
    """Return a net with its data set."""
    return f"{title(spec)} ({NAMES[spec.dataset]})"


def beside(table: pd.DataFrame) -> Iterator[tuple]:
    """Yield each data set whose net of few steps and whose longer-trained one were both run, with their rows."""
    for dataset, rows in table[table.iterated.notna()].groupby("dataset", sort=False):
        few, longer = rows[rows.n == AROUND], rows[rows.n.isna()]
        if len(few) and len(longer):
            yield dataset, next(few.itertuples()), next(longer.itertuples())


def saturated(lines: Lines) -> str:
    """Return what Fig. 3 says, a sentence for each data set."""
    said: dict[str, list[str]] = {}
    for spec, curves in lines.items():
        for curve in curves:
            text = f"BIM(1,1) misleads {title(spec)} on {curve.error[1]:.2f} % of the images"
            text += f" and BIM(30,30) on {curve.error[-1]:.2f} %"
            text += f", and rho stays within {100 * WITHIN:.0f} % of 1 from n = {saturates(curve)[0]} on"
            said.setdefault(NAMES[spec.dataset], []).append(text)
    return sentences([f"**{name}**: {'; '.join(texts)}." for name, texts in said.items()], lines)


def turning(lines: Lines) -> str:
    """Return where the curves turn and saturate as n1 is halved and doubled, a sentence for each net."""
    parts = []
    for spec, curves in lines.items():
        ordered = sorted(curves, key=lambda curve: curve.n1)
        if not ordered or any(np.isnan(curve.rho).any() for curve in ordered):
            continue
        n1, turned = listed(curve.n1 for curve in ordered), listed(turns(curve)[0] for curve in ordered)
        text = f"with n1 = {n1} rho turns at i = {turned}"
        text += f" and is within 5 % of 1 from i = {listed(saturates(curve)[0] for curve in ordered)} on"
        text += "; where they may have used the same share of epsilon, up to the whole, their error rates differ by"
        parts.append(f"**{NAMES[spec.dataset]}, {title(spec)}**: {text} at most {apart(ordered):.2f} points.")
    return sentences(parts, lines)


def listed(values: Iterable[float]) -> str:
    """Return numbers as text: ``5, 10, 20``."""
    return ", ".join(f"{value:g}" for value in values)


def apart(curves: list[Curve]) -> float:
    """Return by how many points the error rates of attacks differ at most at equal shares of epsilon, up to all of it.

    Args:
        curves: from the smallest n1, of which the others' are whole multiples, to the largest.
    """
    shared = range(int(curves[0].n1) + 1)
    errors = np.array([[curve.error[round(i * curve.n1 / curves[0].n1)] for i in shared] for curve in curves])
    return float(np.ptp(errors, axis=0).max())


def training(table: pd.DataFrame) -> str:
    """Return, for each data set, what rho at n = 1 and at n = 5 promised and what training with so many steps gave."""
    parts = []
    for row in table[(table.n == 1) & table.iterated.notna()].itertuples():
        text = f"- **{NAMES[row.dataset]}**: {row.net} is trained with n = 1"
        if not pd.isna(row.vanilla):
            text += f", where rho on Vanilla is {row.vanilla:.3f}"
        text += f"; it classifies {row.fgsm:.2f} % correctly under FGSM and {row.iterated:.2f} % under {row.attack}."
        parts.append(text)
    for dataset, few, longer in beside(table):
        text = f"{few.net} keeps {few.iterated:.2f} % under {few.attack} for {few.passes:g} F an image and epoch"
        known = {"Vanilla": few.vanilla, "BIM-Adv": few.bim}
        rho = " and ".join(f"{value:.3f} on {net}" for net, value in known.items() if pd.notna(value))
        text += f", where rho is {rho}" if rho else ""
        text += f"; {longer.net} keeps {longer.iterated:.2f} % for {longer.passes:g} F"
        parts.append(f"- **{NAMES[dataset]}**: {text}.")
    return "\n".join(parts) or "No net that was trained with n = 1 is in the store yet."


def good(lines: Lines) -> str:
    """Return how many intermediate examples are of good quality as n1 is halved and doubled, by robust net."""
    parts = []
    for spec, curves in robust(lines):
        between = len(curves[0].rho) - 2
        counts = listed(int((curve.rho[1:-1] >= GOOD).sum()) for curve in curves)
        text = (
            f"with n1 = {listed(curve.n1 for curve in curves)} rho is at least {GOOD} in {counts} of {between} examples"
        )
        left = listed(int((curve.rho[turns(curve)[0] + 1 : -1] >= GOOD).sum()) for curve in curves)
        parts.append(f"**{NAMES[spec.dataset]}, {title(spec)}**: {text}; {left} of them come after the turning point.")
    return sentences(parts, {}) or "Nothing was run yet."


def moved(lines: Lines) -> str:
    """Return how far the average pixel moves in the first n1 steps and in all the others, a sentence for each net."""
    parts = []
    for spec, curves in lines.items():
        for curve in curves[:1]:
            n1, last = int(np.ceil(curve.n1)), len(curve.moved) - 1
            text = f"the average pixel moves by {100 * curve.moved[n1]:.1f} % of epsilon in the first {n1} steps"
            text += f", and is {100 * curve.moved[-1]:.1f} % of epsilon away from its start after all {last}"
            parts.append(f"**{NAMES[spec.dataset]}, {title(spec)}**: {text}.")
    return sentences(parts, {}) or "Nothing was run yet."
