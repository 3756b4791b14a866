r"""What chapter 3 found, in sentences whose every number is computed."""

import numpy as np
import pandas as pd

from simadv.store import Store, default
from simbook.chapters import ATTACKS, evaluations
from simbook.tables import embedding
from simbook.tables.atda import BIM, BLENDS, LATE, LEAK, MADRY, by_eq_1, training_facts
from simbook.tables.common import NAMES, NOT_RUN, Found, rate
from simbook.tables.embedding import Panels
from simbook.tables.survival import percent


def of_features(panels: Panels) -> str:
    """Return what Fig. 1's numbers say in sentences of Markdown."""
    found = embedding.numbers(panels).rename(index=lambda name: name[4:].replace(", ", " under "))
    run, said = found.dropna(), []
    if run.empty:
        return "None of these nets was measured yet, so nothing was found."
    for text, column in (
        ("Examples that the net misclassifies", "fooled"),
        ("Examples that a linear classifier tells from their targets by features (50 % is a guess)", "separable"),
    ):
        said.append(f"{text}: " + "; ".join(f"{name}: {value:.1f} %" for name, value in run[column].items()) + ".")
    by_name = {name.split(" under ")[0]: row for name, row in run.iterrows() if name.endswith(BIM)}
    sim = next((name for name in by_name if name.startswith("SIM")), None)
    if sim and "ATDA" in by_name:
        pairs = {what: [by_name[name][column] for name in (sim, "ATDA")] for what, column in BLENDS.items()}
        told = "; ".join(f"{what} {ours:.1f} % and {theirs:.1f} %" for what, (ours, theirs) in pairs.items())
        said.append(f"{sim} and ATDA under {BIM} by each measure of blending: {told}. They need not agree.")
    orders = [list(run[column].sort_values(ascending=column != "fooled").index) for column in ("mixed", "fooled")]
    same = "also the order" if orders[0] == orders[1] else "not the order"
    ranked = f"From least to best mixed in the features: {'; '.join(orders[0])}"
    said.append(f"{ranked}. This is {same} from most to least misclassified.")
    apart = (run.mixed_seen - run.mixed).abs()
    name = apart.idxmax()
    said.append(
        f"t-SNE is furthest from the features in {name}: of an example's nearest neighbours "
        f"{run.mixed_seen[name]:.1f} % are targets in the figure, and {run.mixed[name]:.1f} % in the features."
    )
    return _sentences(said, list(found.index.difference(run.index, sort=False)))


def of_rates(frame: pd.DataFrame, found: Found, dataset: str) -> str:
    """Return what Table 1 says of one data set in sentences of Markdown."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "atda")]
    said, missing, facts = [], [], training_facts(found, dataset)
    for lr, part in rows.groupby("lr", sort=True):
        if part.true.isna().any():
            missing.append(f"ATDA at rate {rate(lr)}")
            continue
        of = part.set_index("attack")
        text = (
            f"At rate {rate(lr)} ATDA keeps {of.true[BIM]:.2f} % under {BIM} and {of.true[MADRY]:.2f} % under {MADRY}"
        )
        if of.paper.notna().any():
            text += f"; the paper reports {of.paper[BIM]:.2f} % and {of.paper[MADRY]:.2f} %"
        gain = (of.predicted - of.true).max()
        said.append(f"{text}. Attacking predicted instead of true labels gives at most {gain:.2f} points more.")
        if pd.notna(facts.robust[lr]):
            low, high = facts.lowest[lr], facts.highest[lr]
            text = f"In the last {LATE} epochs of this run the loss averaged {facts.loss[lr]:.2f} and the monitor saw "
            text += f"accuracies from {low:.1f} % to {high:.1f} %"
            said.append(f"{text}, so a single epoch says little about it." if high - low > 10 else f"{text}.")
    return _sentences([*said, *lost_to_randomness(frame, dataset)], missing)


def lost_to_randomness(frame: pd.DataFrame, dataset: str) -> list[str]:
    """Return, in a sentence, what a random start takes from ATDA, and from FGSM-Adv, which has no loss of its kind.

    The paper has ATDA's loss break at the randomness of Madry examples (section 3.4).
    """
    lost, titles = {}, {}
    for (method, lr), part in frame[frame.dataset.eq(dataset)].groupby(["method", "lr"]):
        of = part[part.attack.isin([BIM, MADRY])].drop_duplicates("attack").set_index("attack")
        if method in ("atda", "fgsm") and of.true.notna().all():
            titles[method, rate(lr)] = part.title.iloc[0] + ", which adapts no domain," * (method == "fgsm")
            lost[method, rate(lr)] = of.true[BIM] - of.true[MADRY], of.paper[BIM] - of.paper[MADRY]
    if {method for method, _ in lost} != {"atda", "fgsm"}:  # nothing to compare
        return []
    told = []
    for (method, at), (ours, printed) in lost.items():
        beside = f" (the paper: {printed:.1f})" if pd.notna(printed) else ""
        told.append(f"{titles[method, at]} at rate {at}: {ours:.1f}{beside}")
    return [f"Points lost from {BIM} to {MADRY}, which starts at random: {'; '.join(told)}."]


def of_labels(table: pd.DataFrame) -> str:
    """Return what :func:`simbook.tables.atda.labels` says in sentences of Markdown."""
    if table.isna().any(axis=None):
        return "Not all of these nets were run yet."
    eq1, published = (table.iloc[i] for i in range(2))
    said = [f"{name} {published[name] - eq1[name]:+.1f}" for name in table if name not in ("Original", "FGSM", LEAK)]
    leak = " and ".join(f"{row[LEAK]:+.2f}" for row in (eq1, published))
    return (
        f"FGSM less clean is {leak} points, by Eq. 1 and as published. Trained as published ATDA keeps, in points more "
        f"(or less): {', '.join(said)}."
    )


def safe(found: Found, dataset: str, *, store: Store | None = None) -> str:
    """Return the chapter's answer on one data set in words.

    Safe is a net that Table 3's BIM, with steps to spare, leaves more than half of its clean accuracy; the answer is
    open while one of the rates was not run.
    """
    store, told, safe = store or default(), [], []
    bim = next(name for name in ATTACKS[dataset] if name.startswith("BIM"))
    for spec, run in sorted(by_eq_1(found), key=lambda f: -f[0].lr):
        if (spec.method, spec.dataset) == ("atda", dataset):
            clean, left = (percent(run, measure, store) for measure in evaluations(dataset, bim))
            safe.append(np.nan if np.isnan(left) else left > clean / 2)
            told.append(f"{NOT_RUN if np.isnan(left) else f'{left:.1f} of {clean:.1f} %'} at rate {rate(spec.lr)}")
    word = "open" if np.isnan(safe).any() else "yes" if all(safe) else "at one rate" if any(safe) else "no"
    return f"**{NAMES[dataset]}**: {word}. {bim} leaves ATDA {' and '.join(told)}."


def of_lambda(frame: pd.DataFrame, dataset: str) -> str:
    """Return what Fig. 2 says of one data set in sentences of Markdown."""
    rows = frame[(frame.dataset == dataset) & (frame.method == "bim-atda") & frame.attack.isin([BIM, MADRY])]
    missing = [f"lambda {value:.3g}" for value in rows[rows.true.isna()].lambda_.unique()]
    said = []
    for attack, part in rows.dropna(subset="true").groupby("attack", sort=False):
        of = part.set_index("lambda_").true
        if 0.0 in of.index and len(of) > 1:
            change = (of - of[0.0]).drop(0.0)
            spread = ", ".join(f"{value:+.2f} at {at:.3g}" for at, value in change.items())
            said.append(f"Under {attack} lambda = 0 has {of[0.0]:.2f} %; the change in points by lambda: {spread}.")
    return _sentences(said, missing)


def _sentences(said: list[str], missing: list[str]) -> str:
    """Number what was found, and say what was not run."""
    said = [*said, f"Not run yet: {'; '.join(missing)}." if missing else "Every run of this section was made."]
    return "\n".join(f"{i}. {sentence}" for i, sentence in enumerate(said, 1))
