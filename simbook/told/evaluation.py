r"""What chapter 6 found, in sentences whose every number is computed."""

import pandas as pd

from simbook.tables.beside import APART, LOST, SINCE, last_rises
from simbook.tables.beside import stronger as stronger_of
from simbook.tables.common import NAMES, Found, rate
from simbook.tables.evaluation import curves
from simbook.tables.spread import over_seeds, with_spread


def leaks(frame: pd.DataFrame) -> str:
    """Return the nets that are more accurate under FGSM than on clean images: they read the label off the step.

    With what is left where FGSM leads away from the net's own answer, which tells no label.
    """
    rows = over_seeds(frame[frame.true.notna() & frame.attack.isin(["Original", "FGSM"])])
    said = []
    for (dataset, name, lr), of in rows.groupby(["dataset", "title", "lr"], sort=False):
        by = of.set_index("attack")
        if {"Original", "FGSM"} <= set(by.index) and by.true["FGSM"] > by.true["Original"]:
            said.append(
                f"{name} on {NAMES[dataset]} at rate {rate(lr)} ({by.true['FGSM']:.2f} % under FGSM, "
                f"{by.true['Original']:.2f} % clean; {by.predicted['FGSM']:.2f} % by predicted labels)"
            )
    if not said:
        return "No net is more accurate under FGSM than on clean images."
    return (
        "More accurate under FGSM than on clean images, so a single step tells them the label (*label leaking*), and "
        f"what they have under it is no robustness: {'; '.join(said)}."
    )


def findings(frame: pd.DataFrame, found: Found, dataset: str) -> str:
    """Return what the chapter found in five sentences of Markdown, every number from the store.

    Args:
        frame: :func:`simbook.tables.spread.over_seeds` of the runs of Table 3.
    """
    rows = frame[(frame.dataset == dataset) & frame.true.notna()].set_index(["title", "lr", "attack"])
    bim = next((name for name in rows.index.get_level_values("attack").unique() if name.startswith("BIM")), None)
    if bim is None:
        return (
            f"No row of Table 3 was run on {NAMES[dataset]} yet; what ran at other settings is under *Other settings*."
        )
    iterated = rows.xs(bim, level="attack")
    sim = iterated[(iterated.method == "sim") & ~iterated.index.get_level_values("title").str.contains("staggered")]
    weak = iterated[iterated.method.isin(["vanilla", "fgsm", "free", "atda"])]
    inflated = iterated.predicted - iterated.true
    said = []
    if len(sim):
        said.append(_best_of(sim, bim))
    if len(weak):
        names = ", ".join(
            f"{name} at {rate(lr)}: {with_spread(row.true, row.sd, row.seeds, sign=' %')}"
            for (name, lr), row in weak.iterrows()
        )
        said.append(f"Vanilla and the single-step methods under the same attack: {names}.")
    said.append(
        f"Attacking the predicted instead of the true label raises the accuracies of Table 3 under {bim} by up to "
        f"{inflated.max():.2f} points ({inflated.idxmax()[0]} at {rate(inflated.idxmax()[1])}), without any change to "
        "a model."
    )
    if watched := _watched([(spec, run) for spec, run in found if spec.dataset == dataset], NAMES[dataset]):
        said.append(
            f"At the highest rate that was run, one seed, watched after each epoch from the {SINCE}th on, "
            f"{'; '.join(watched)}."
        )
    missing = frame[(frame.dataset == dataset) & (frame.attack == "Original") & frame.true.isna()]
    names = ", ".join(f"{name} at {rate(lr)}" for name, lr in zip(missing.title, missing.lr, strict=True))
    said.append(f"Not run yet: {names}." if names else "Every run of Table 3 was made.")
    return "\n".join(f"{i}. {sentence}" for i, sentence in enumerate(said, 1))


def _best_of(rows: pd.DataFrame, attack: str) -> str:
    """Return what the best of SIM-Adv's rows under ``attack`` has, in a sentence."""
    best = rows.true.idxmax()
    at = rows.loc[best]
    spread = f"standard deviation over {at.seeds} seeds {at.sd:.2f} points"
    if at.seeds == 1:
        spread = f"95 % interval of the test set {at.low:.2f} to {at.high:.2f}; one seed"
    text = f"SIM-Adv at rate {rate(best[1])} classifies {at.true:.2f} % correctly under {attack} with true labels"
    text += f" ({spread}) and {at.predicted:.2f} % with predicted ones, as the paper's seem to be"
    return text + ("." if pd.isna(at.paper) else f"; it reports {at.paper:.2f} %.")


def _watched(found: Found, name: str) -> list[str]:
    """Return where each run of the data set ``name`` ended and what its worst epoch from :data:`SINCE` on had."""
    told = []
    for label, line in curves(found).items():
        late = line[line.epoch >= SINCE].robust
        if len(late):
            title, last = label.removeprefix(f"{name}: "), line.robust.iloc[-1]
            told.append(f"{title} has {last:.1f} % after the last and had {late.min():.1f} % in its worst epoch")
    return told


def stronger(found: Found) -> str:
    """Return what each stronger attack takes from each net, a sentence a data set and attack, the most first."""
    table = stronger_of(found)
    said = []
    for name in [column for column in table if column.startswith(LOST)]:
        for dataset, rows in table[table[name] != "-"].groupby(level="data set", sort=False):
            lost = rows[name].astype(float).sort_values(ascending=False)
            parts = [f"{value:.1f} from {method} at {lr}" for (_, method, lr), value in lost.items() if value]
            none = f"; nothing from {sum(lost == 0)} others" if (lost == 0).any() else ""
            attack = name.removeprefix(LOST)
            said.append(f"- {dataset}: points that {attack} takes: {', '.join(parts) or 'none'}{none}.")
    return "\n".join(said) or "Nothing was measured under a stronger attack yet."


def cycle_ends(table: pd.DataFrame) -> str:
    """Return :func:`last_rises` in words, a sentence a data set and rate."""
    said = []
    for (dataset, lr), (rise, count) in last_rises(table).iterrows():
        seeds = f"mean of {count:.0f} seeds" if count > 1 else "one seed"
        said.append(
            f"- {dataset}, rate {rate(lr)}: the last cycle ended {rise:+.1f} points from the one before ({seeds})."
        )
    return "\n".join(said) or "No run was watched through two cycles yet."


def resets(table: pd.DataFrame) -> str:
    """Return whether the gap is as wide as :data:`APART` asks, a sentence for each data set and rate."""
    said = []
    for (dataset, lr), rows in table.groupby(["dataset", "lr"], sort=False):
        gap, count = rows.gap, len(rows)
        far = f"{abs(gap.mean()):.1f} points {'above' if gap.mean() >= 0 else 'below'}"
        text = f"{NAMES[dataset]}, rate {rate(lr)}: the worst epoch of `staggered` is {far} `cycle`'s"
        if count > 1:
            text += f" on average over {count} seeds ({gap.min():.1f} to {gap.max():.1f})"
        judged = "is" if gap.mean() >= APART else "is not"
        said.append(f"- {text}{'' if count > 1 else ', one seed'}; that {judged} at least {APART:g}.")
    return "\n".join(said) or "No pair of these runs was made yet."


def widest(frame: pd.DataFrame, dataset: str) -> str:
    """Return which setting's seeds are furthest apart, and under which attack: a method may be a matter of luck."""
    rows = frame[(frame.dataset == dataset) & frame.true.notna()]
    of = rows.groupby(["title", "lr", "attack"], sort=False).true.agg(["min", "max", "count"])
    of = of[of["count"] > 1]
    name, lr, attack = (of["max"] - of["min"]).idxmax()
    low, high, count = of.loc[(name, lr, attack)]
    return (
        f"The seeds of {name} at {rate(lr)} are furthest apart: from {low:.2f} to {high:.2f} % under {attack}, "
        f"of {count:.0f} seeds."
    )
