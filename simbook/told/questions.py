r"""The questions that a careful reader asks of section 6, answered with numbers of the paper and of the store."""

import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import DATASETS, run_spec
from simbook import paper
from simbook.tables import sim_adv
from simbook.tables.common import NAMES, Found, rate


def iterated(dataset: str) -> str:
    """Return the paper's BIM on a data set, the first iterated attack of its Table 3."""
    return next(attack for attack in paper.TABLE3[dataset] if attack.startswith("BIM"))


def vanilla(frame: pd.DataFrame) -> str:
    """Return why the paper's Vanilla rows may not be at 0 %: what the attacked label does to ours.

    Args:
        frame: :func:`simbook.tables.spread.over_seeds` of the runs of Table 3.
    """
    shares = []
    for dataset, table in paper.TABLE3.items():
        left, wrong = table[iterated(dataset)]["vanilla"], 100 - table["Original"]["vanilla"]
        shares.append(f"{left:.2f} % on {NAMES[dataset]}, {left / wrong:.2f} of its clean error")
    said = [f"The paper's Vanilla nets keep, under BIM, {'; '.join(shares)}."]
    rows = frame[(frame.method == "vanilla") & frame.true.notna()]
    for (dataset, lr), part in rows.groupby(["dataset", "lr"], sort=False):
        of, clean = part.set_index("attack"), part[part.attack == "Original"].true
        bim = next((attack for attack in of.index if attack.startswith("BIM")), None)
        if bim is not None and len(clean):
            true, predicted = of.true[bim], of.predicted[bim]
            gained = (predicted - true) / (100 - clean.item())
            text = (
                f"Ours on {NAMES[dataset]} at rate {rate(lr)} keeps {true:.2f} % when pushed away from the true label"
            )
            said.append(
                f"{text}, and {predicted:.2f} % from its own answer: a gain of {gained:.2f} of its clean error."
            )
    return " ".join(said)


def whole_thousandths(dataset: str, epochs: int) -> list[str]:
    """Return the methods of Table 5 whose seconds an epoch, at a number of epochs, end after three digits."""
    seconds = {method: times[dataset] for method, times in paper.TABLE5.items()}
    return [method for method, total in seconds.items() if abs(round(total / epochs, 3) * epochs - total) < 1e-6]


def halves(n2: int) -> str:
    """Return where half of the book's epochs give whole numbers in as many totals: that they end a cycle is assumed."""
    halved = {name: DATASETS[name]["epochs"] // 2 for name in paper.DATASETS}
    same = {
        name: half
        for name, half in halved.items()
        if len(whole_thousandths(name, half)) >= len(whole_thousandths(name, 2 * half))
    }
    if not (within := [name for name, half in same.items() if half % n2]):
        return ""
    listed = ", ".join(f"{half} on {NAMES[name]}" for name, half in same.items())
    inside = " and ".join(f"{same[name]} on {NAMES[name]}" for name in within)
    return (
        f"Half as many give at least as many whole numbers ({listed}), and {inside} would end within a cycle: the "
        "totals do not say where in a cycle the paper stops."
    )


def reset(found: Found) -> str:
    """Return what the reset does to robustness in our runs, and when in the cycle the paper can have stopped."""
    n2 = run_spec("mnist", "sim").n2
    said = []
    for dataset in paper.DATASETS:
        epochs = DATASETS[dataset]["epochs"]
        cycles = f"{epochs // n2} cycles" if epochs % n2 == 0 else "no whole number of cycles"
        share = f"{len(whole_thousandths(dataset, epochs))} of {len(paper.TABLE5)} totals"
        said.append(f"{epochs} epochs on {NAMES[dataset]} ({share}; {cycles})")
    told = [
        "The paper does not say where it stops. Table 5's totals come out whole, to a thousandth of a second an epoch, "
        f"with {'; '.join(said)}. These were taken among multiples of {n2}, so that training ends at full strength. "
        f"{halves(n2)}"
    ]
    for row in sim_adv.sawtooth(sim_adv.watched(found)).itertuples():
        if row.reset == "cycle" and pd.notna(row.lowest):
            text = (
                f"Ours on {NAMES[row.dataset]} at rate {rate(row.lr)}, seen by the monitor: {row.last:.1f} % at the end"
            )
            text += f", {row.lowest:.1f} % after epoch {row.at:.0f}"
            back = f", and {row.back:.1f} epochs from a reset until it is back" if pd.notna(row.back) else ""
            told.append(f"{text}{back}.")
    return " ".join(told)


def ratio() -> str:
    """Return whether Table 5's ratio of BIM-Adv to SIM-Adv can be computation: the passes say what it would be."""
    told = []
    for dataset in paper.DATASETS:
        total, sim = (paper.TABLE5[method][dataset] for method in ("bim", "sim"))
        told.append(f"{total / sim:.2f} on {NAMES[dataset]}")
    of_steps = {n2: cost("bim", n2=n2) / cost("sim") for n2 in (7, 10, 15, 20, 30)}
    passes = ", ".join(f"{share:.2f} with {n2} steps" for n2, share in of_steps.items())
    return (
        f"Table 5 has BIM-Adv at {', '.join(told)} times SIM-Adv's seconds. Gradient passes, alike on every machine, "
        f"give {passes}. The paper's ratios are those of fewer steps than its BIM(10,30), or of a machine that spends "
        "most of an epoch on something else than gradients. Either way it is not the computation of 30 steps, and the "
        "saving by computation alone is larger than the paper's."
    )


def cost(method: str, **steps) -> int:
    """Return the passes (F) of one image in one epoch of a method on MNIST."""
    return sum(passes_per_image(run_spec("mnist", method, **steps)))


def answers(frame: pd.DataFrame, found: Found) -> str:
    """Return the three questions with their answers as Markdown."""
    asked = {
        "Why are the paper's Vanilla rows not at 0 %?": vanilla(frame),
        "What does the reset do to robustness, and where in the cycle does the paper stop?": reset(found),
        "Can Table 5's ratio of BIM-Adv to SIM-Adv be computation?": ratio(),
    }
    return "\n\n".join(f"**{question}** {answer}" for question, answer in asked.items())
